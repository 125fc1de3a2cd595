/** Every kind of fault and every arrow of the protocol that a long run must have met. */
import { faultKinds } from './faults/fault.ts'

export const faultNames: readonly string[] = [
  ...faultKinds.map(kind => `fault.${kind}`),
  'network.lost',
  'network.duplicated',
  'network.straggled',
  'network.cut',
  'network.reset',
  'coordinator.answerLost',
  'coordinator.conflict',
  'coordinator.sessionLapsed',
]

export const arrowNames: readonly string[] = [
  ...['append', 'appended', 'hello', 'served', 'chunk', 'chunkTaken'].map(kind => `message.${kind}`),
  ...['add', 'remove', 'handOver'].map(kind => `request.${kind}`),
  ...[
    'request.add',
    'request.remove',
    'request.handOver',
    'leader',
    'suspect',
    'returned',
    'dead',
    'formed',
    'moves',
    'join',
    'leave',
    'recovered',
  ].map(kind => `table.${kind}`),
  'order.handOver',
  'promise.given',
  'promise.refused',
  'replica.storeReplaced',
  'replica.serves',
  'replica.stopsServing',
  'write.recordedResult',
  'read.expired',
  'sweep.expired',
  'answer.unknown.read',
  'answer.unknown.write',
  'client.retry',
  'client.sessionUnknown',
  ...['notPrimary', 'notServing', 'noPromise', 'sessionUnknown'].map(reason => `refused.${reason}`),
]
