/** The connectors of this node, by the kind that a source's descriptor names. One set per thread. */
import { invalidArgument } from '../base/errors.ts'
import type { SourceConnector } from '../streaming/source.ts'
import type { SinkConnector } from '../streaming/sink.ts'
import { CustomSplits } from './custom-splits.ts'
import { FileSinkConnector } from './files/file-sink.ts'
import { FilesConnector } from './files/files-connector.ts'
import { GeneratorConnector } from './generator-connector.ts'

const connectors: readonly SourceConnector[] = [new FilesConnector(), new GeneratorConnector(), new CustomSplits()]
const sinks: readonly SinkConnector[] = [new FileSinkConnector()]

/** INVALID_ARGUMENT names the kinds there are. */
export function connectorOf(kind: string): SourceConnector {
  const connector = connectors.find(known => known.kind === kind)
  if (connector === undefined)
    throw invalidArgument(`There is no source of kind "${kind}"; there are ${connectors.map(known => known.kind).join(', ')}`)
  return connector
}

/** The same for sinks. */
export function sinkConnectorOf(kind: string): SinkConnector {
  const connector = sinks.find(known => known.kind === kind)
  if (connector === undefined)
    throw invalidArgument(`There is no sink of kind "${kind}"; there are ${sinks.map(known => known.kind).join(', ')}`)
  return connector
}
