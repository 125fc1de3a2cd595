/** The hand-written codec of `Data.Pipe`, as both ends give it to grpc-js. */
import { NearstateError } from '../../base/errors.ts'
import { decodeOperationBatch, decodeResultBatch, encodeOperationBatch, encodeResultBatch } from '../../wire/batch-codec.ts'
import type { OperationBatch, ResultBatch } from '../../wire/generated/nearstate/v1/data.ts'
import { emptyBatch } from '../../wire/operations.ts'
import type { Serializers } from './definition.ts'

/** Why a batch could not be read: a deserializer that throws would end the stream as INTERNAL. */
export const unreadable = new WeakMap<OperationBatch, NearstateError>()

export const pipeSerializers: Serializers<OperationBatch, ResultBatch> = {
  // grpc-js keeps the bytes for some turns on the sending side, and copies them at once on the answering side.
  encodeRequest: batch => Buffer.from(encodeOperationBatch(batch)),
  encodeResponse: encodeResultBatch,
  decodeResponse: decodeResultBatch,
  decodeRequest: bytes => {
    try {
      return decodeOperationBatch(bytes)
    } catch (thrown) {
      if (!(thrown instanceof NearstateError)) throw thrown
      const batch = emptyBatch()
      unreadable.set(batch, thrown)
      return batch
    }
  },
}
