/** The connectors of this node, by the kind that a source's descriptor names. One set per thread. */
import { invalidArgument } from '../base/errors.ts'
import type { SourceConnector } from '../streaming/source.ts'
import { FilesConnector } from './files/files-connector.ts'
import { GeneratorConnector } from './generator-connector.ts'

const connectors: readonly SourceConnector[] = [new FilesConnector(), new GeneratorConnector()]

/** INVALID_ARGUMENT names the kinds there are. */
export function connectorOf(kind: string): SourceConnector {
  const connector = connectors.find(known => known.kind === kind)
  if (connector === undefined)
    throw invalidArgument(`There is no source of kind "${kind}"; there are ${connectors.map(known => known.kind).join(', ')}`)
  return connector
}
