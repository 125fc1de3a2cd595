/** The generated file descriptors, found by file name or by the full name of a symbol. */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import { descriptorSetBase64 } from './generated/descriptor-set.ts'

interface DescriptorFile {
  /** An encoded google.protobuf.FileDescriptorProto. */
  readonly bytes: Buffer
  readonly dependencies: readonly string[]
}

// Field numbers of google/protobuf/descriptor.proto.
const field = {
  file: 1,
  name: 1,
  package: 2,
  dependency: 3,
  message: 4,
  enumeration: 5,
  service: 6,
  nestedMessage: 3,
  nestedEnum: 4,
  method: 2,
}

export class DescriptorIndex {
  readonly #files = new Map<string, DescriptorFile>()
  readonly #fileOfSymbol = new Map<string, string>()

  constructor() {
    for (const bytes of fieldsOf(Buffer.from(descriptorSetBase64, 'base64')).get(field.file) ?? []) this.#addFile(bytes)
  }

  fileOf(symbol: string): string | undefined {
    return this.#fileOfSymbol.get(symbol)
  }

  /** The file's descriptor and those of all it imports, itself first; empty when there is no such file. */
  withDependencies(name: string): Buffer[] {
    const names = new Set([name])
    const found: Buffer[] = []
    for (const next of names) {
      const file = this.#files.get(next)
      if (file === undefined) continue
      found.push(file.bytes)
      for (const dependency of file.dependencies) names.add(dependency)
    }
    return found
  }

  #addFile(bytes: Buffer): void {
    const fields = fieldsOf(bytes)
    const name = textOf(fields, field.name)
    const prefix = textOf(fields, field.package)
    this.#files.set(name, { bytes, dependencies: (fields.get(field.dependency) ?? []).map(String) })
    for (const message of fields.get(field.message) ?? []) this.#addMessage(name, prefix, message)
    for (const enumeration of fields.get(field.enumeration) ?? []) this.#add(name, prefix, enumeration)
    for (const service of fields.get(field.service) ?? []) {
      const symbol = this.#add(name, prefix, service)
      for (const method of fieldsOf(service).get(field.method) ?? []) this.#add(name, symbol, method)
    }
  }

  #addMessage(file: string, prefix: string, bytes: Buffer): void {
    const symbol = this.#add(file, prefix, bytes)
    const fields = fieldsOf(bytes)
    for (const nested of fields.get(field.nestedMessage) ?? []) this.#addMessage(file, symbol, nested)
    for (const nested of fields.get(field.nestedEnum) ?? []) this.#add(file, symbol, nested)
  }

  #add(file: string, prefix: string, bytes: Buffer): string {
    const symbol = `${prefix}.${textOf(fieldsOf(bytes), field.name)}`
    this.#fileOfSymbol.set(symbol, file)
    return symbol
  }
}

/** All length-delimited fields of a message, by number. */
function fieldsOf(bytes: Buffer): Map<number, Buffer[]> {
  const fields = new Map<number, Buffer[]>()
  const reader = new BinaryReader(bytes)
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag()
    if (wireType !== WireType.LengthDelimited) {
      reader.skip(wireType)
      continue
    }
    const value = Buffer.from(reader.bytes())
    const list = fields.get(number)
    if (list === undefined) fields.set(number, [value])
    else list.push(value)
  }
  return fields
}

const textOf = (fields: Map<number, Buffer[]>, number: number): string => fields.get(number)?.[0]?.toString() ?? ''
