import { loadPackageDefinition, credentials } from '@grpc/grpc-js'
import { loadFileDescriptorSetFromBuffer } from '@grpc/proto-loader'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { NearstateError } from '../../src/base/errors.ts'
import { createGrpcClient } from '../../src/transport/grpc/client.ts'
import { type GrpcServer, serveGrpc } from '../../src/transport/grpc/server.ts'
import { bindService } from '../../src/transport/grpc/service.ts'
import { HealthDefinition } from '../../src/wire/generated/grpc/health/v1/health.ts'
import {
  ServerReflectionDefinition,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from '../../src/wire/generated/grpc/reflection/v1/reflection.ts'
import { CoordinatorDefinition } from '../../src/wire/generated/nearstate/v1/coordinator.ts'
import { eventually } from '../contract/eventually.ts'

const value = (version: number) => ({ key: 'k', value: Buffer.from('v'), version: BigInt(version) })
let watching = 0

const service = bindService(CoordinatorDefinition, {
  async read({ key }, { signal }) {
    if (key === 'fail') throw new NearstateError('FUNCTION_FAILED', 'schön kaputt', { functionStack: 'at line 1\nat line 2' })
    if (key === 'bug') throw new TypeError('a bug')
    if (key === 'slow') await new Promise(resolve => signal.addEventListener('abort', resolve))
    return { value: value(1) }
  },
  async list() {
    return { values: [] }
  },
  async compareAndSet() {
    return { done: true, version: 1n }
  },
  async *watch({ prefix }, { signal }) {
    watching += 1
    try {
      for (let version = 1; !signal.aborted; version += 1) {
        if (prefix === 'fail' && version === 3) throw new NearstateError('CONFLICT', 'enough')
        yield { value: value(version), deleted: false, caughtUp: false }
        if (version % 100 === 0) await new Promise(resolve => setImmediate(resolve))
      }
    } finally {
      watching -= 1
    }
  },
  async renewSession() {
    return { id: '', lapsed: false }
  },
  async closeSession() {
    return { id: '', lapsed: false }
  },
})

describe('a gRPC server', () => {
  let server: GrpcServer
  let address: string
  beforeAll(async () => {
    server = await serveGrpc({ host: '127.0.0.1', port: 0, services: [service] })
    address = `127.0.0.1:${server.port}`
  })
  afterAll(() => server.stop(0))

  test('answers, and its errors arrive as what they are', async () => {
    const client = createGrpcClient(CoordinatorDefinition, address)
    expect(await client.read({ key: 'k' })).toEqual({ value: value(1) })
    await expect(client.read({ key: 'fail' })).rejects.toMatchObject({
      code: 'FUNCTION_FAILED',
      message: 'schön kaputt',
      functionStack: 'at line 1\nat line 2',
    })
    await expect(client.read({ key: 'bug' })).rejects.toMatchObject({ code: 'INTERNAL' })
    client.close()
  })

  test('time-outs and aborts end a call, at the server too', async () => {
    const client = createGrpcClient(CoordinatorDefinition, address)
    await expect(client.read({ key: 'slow' }, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    const controller = new AbortController()
    const call = client.read({ key: 'slow' }, { signal: controller.signal })
    setImmediate(() => controller.abort())
    await expect(call).rejects.toMatchObject({ code: 'CANCELLED' })
    await expect(client.read({ key: 'k' }, { signal: controller.signal })).rejects.toMatchObject({ code: 'CANCELLED' })
    client.close()
  })

  test('streams end by break, by error and by abort, and nothing is left running', async () => {
    const client = createGrpcClient(CoordinatorDefinition, address)
    const seen: bigint[] = []
    for await (const event of client.watch({ prefix: '' })) {
      seen.push(event.value?.version ?? 0n)
      if (seen.length === 3) break
    }
    expect(seen).toEqual([1n, 2n, 3n])
    const all = async (prefix: string, signal?: AbortSignal): Promise<void> => {
      for await (const event of client.watch({ prefix }, signal === undefined ? {} : { signal })) seen.push(event.value?.version ?? 0n)
    }
    await expect(all('fail')).rejects.toMatchObject({ code: 'CONFLICT', message: 'enough' })
    await expect(all('', AbortSignal.timeout(50))).rejects.toMatchObject({ code: 'CANCELLED' })
    await eventually(() => watching).toBe(0)
    client.close()
  })

  test('reports its health', async () => {
    const client = createGrpcClient(HealthDefinition, address)
    expect(await client.check({ service: '' })).toEqual({ status: 1 })
    expect(await client.check({ service: 'nearstate.v1.Coordinator' })).toEqual({ status: 1 })
    await expect(client.check({ service: 'nearstate.v1.Nothing' })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    for await (const { status } of client.watch({ service: 'nearstate.v1.Nothing' })) {
      expect(status).toBe(3)
      break
    }
    client.close()
  })

  test('tells a dynamic client all it needs for a call', async () => {
    const client = createGrpcClient(ServerReflectionDefinition, address)
    const call = client.serverReflectionInfo()
    const ask = (messageRequest: NonNullable<ServerReflectionRequest['messageRequest']>): Promise<ServerReflectionResponse> => {
      const answer = new Promise<ServerReflectionResponse>(resolve => call.once('data', resolve))
      call.write({ host: '', messageRequest })
      return answer
    }
    const listed = await ask({ $case: 'listServices', value: '' })
    expect(listed.messageResponse).toMatchObject({
      value: {
        service: [{ name: 'nearstate.v1.Coordinator' }, { name: 'grpc.health.v1.Health' }, { name: 'grpc.reflection.v1.ServerReflection' }],
      },
    })
    expect((await ask({ $case: 'fileContainingSymbol', value: 'nearstate.v1.Nothing' })).messageResponse).toMatchObject({
      value: { errorCode: 5 },
    })
    expect((await ask({ $case: 'fileByFilename', value: 'nearstate/v1/data.proto' })).messageResponse?.$case).toBe('fileDescriptorResponse')
    const found = await ask({ $case: 'fileContainingSymbol', value: 'nearstate.v1.Coordinator.Read' })
    if (found.messageResponse?.$case !== 'fileDescriptorResponse') throw new Error('no descriptor')
    const files = found.messageResponse.value.fileDescriptorProto
    call.end()
    client.close()

    // A FileDescriptorSet is its files, each as field 1.
    const set = Buffer.concat(files.flatMap(file => [Buffer.from([0x0a]), varint(file.length), file]))
    const loaded = loadPackageDefinition(loadFileDescriptorSetFromBuffer(set)) as unknown as {
      nearstate: { v1: { Coordinator: new (address: string, credentials: unknown) => DynamicClient } }
    }
    const dynamic = new loaded.nearstate.v1.Coordinator(address, credentials.createInsecure())
    const answer = await new Promise((resolve, reject) => {
      dynamic.read({ key: 'k' }, (failure, response) => (failure === null ? resolve(response) : reject(failure)))
    })
    expect(answer).toMatchObject({ value: { key: 'k' } })
    dynamic.close()
  })

  test('that cannot listen says where, and leaves nothing behind', async () => {
    await expect(serveGrpc({ host: '127.0.0.1', port: server.port, services: [] })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining(`127.0.0.1:${server.port}`),
    })
  })

  test('that stops waits for calls under way, up to its grace', async () => {
    const stopping = await serveGrpc({ host: '127.0.0.1', port: 0, services: [service] })
    const client = createGrpcClient(CoordinatorDefinition, `127.0.0.1:${stopping.port}`)
    await client.read({ key: 'k' })
    const slow = client.read({ key: 'slow' }).catch((failure: unknown) => failure)
    await new Promise(resolve => setTimeout(resolve, 30))
    const started = performance.now()
    await stopping.stop(100)
    expect(performance.now() - started).toBeGreaterThan(80)
    expect(await slow).toMatchObject({ code: expect.stringMatching(/UNAVAILABLE|CANCELLED|INTERNAL/) })
    await expect(client.read({ key: 'k' })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    client.close()
  })
})

interface DynamicClient {
  read(request: unknown, done: (failure: Error | null, response: unknown) => void): void
  close(): void
}

function varint(value: number): Buffer {
  const bytes: number[] = []
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) return Buffer.from([...bytes, rest])
    bytes.push((rest & 0x7f) | 0x80)
  }
}
