/** grpc.reflection.v1 over the file descriptors that are generated with the messages. */
import { status } from '@grpc/grpc-js'
import { DescriptorIndex } from '../../wire/descriptors.ts'
import {
  ServerReflectionDefinition,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from '../../wire/generated/grpc/reflection/v1/reflection.ts'
import { type BoundService, bindService } from './service.ts'

type Answer = NonNullable<ServerReflectionResponse['messageResponse']>

let index: DescriptorIndex | undefined

export function createReflection(serviceNames: readonly string[]): BoundService {
  const names = [...serviceNames, ServerReflectionDefinition.fullName]
  return bindService(ServerReflectionDefinition, {
    serverReflectionInfo: call => ({
      onMessage: request => {
        index ??= new DescriptorIndex()
        const more = call.send({ validHost: request.host, originalRequest: request, messageResponse: answer(index, names, request) })
        if (!more) call.pause()
      },
      onDrain: () => call.resume(),
      onHalfClose: () => call.end(),
      onGone: () => undefined,
    }),
  })
}

function answer(descriptors: DescriptorIndex, names: readonly string[], request: ServerReflectionRequest): Answer {
  const wanted = request.messageRequest
  switch (wanted?.$case) {
    case 'listServices':
      return { $case: 'listServicesResponse', value: { service: names.map(name => ({ name })) } }
    case 'fileByFilename':
      return filesOf(descriptors, wanted.value, `file "${wanted.value}"`)
    case 'fileContainingSymbol':
      return filesOf(descriptors, descriptors.fileOf(wanted.value), `symbol "${wanted.value}"`)
    case 'allExtensionNumbersOfType':
      return { $case: 'allExtensionNumbersResponse', value: { baseTypeName: wanted.value, extensionNumber: [] } }
    case 'fileContainingExtension':
      return failure(status.NOT_FOUND, 'there are no extensions')
    default:
      return failure(status.UNIMPLEMENTED, 'unknown request')
  }
}

function filesOf(descriptors: DescriptorIndex, file: string | undefined, what: string): Answer {
  const found = file === undefined ? [] : descriptors.withDependencies(file)
  if (found.length === 0) return failure(status.NOT_FOUND, `${what} is not known here`)
  return { $case: 'fileDescriptorResponse', value: { fileDescriptorProto: found } }
}

const failure = (errorCode: number, errorMessage: string): Answer => ({ $case: 'errorResponse', value: { errorCode, errorMessage } })
