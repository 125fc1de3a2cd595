/** The hand-written codec of `Data.Pipe`, as both ends give it to grpc-js. */
import { decodeOperationBatch, decodeResultBatch, encodeOperationBatch, encodeResultBatch } from '../../wire/batch-codec.ts'
import type { OperationBatch, ResultBatch } from '../../wire/generated/nearstate/v1/data.ts'
import type { Serializers } from './definition.ts'

export const pipeSerializers: Serializers<OperationBatch, ResultBatch> = {
  // grpc-js keeps the bytes for some turns on the sending side, and copies them at once on the answering side.
  encodeRequest: batch => Buffer.from(encodeOperationBatch(batch)),
  encodeResponse: encodeResultBatch,
  decodeResponse: decodeResultBatch,
  decodeRequest: decodeOperationBatch,
}
