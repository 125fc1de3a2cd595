/** The option table for people: rows for `--help`, the page of the documentation, and what `--print-config` prints. */
import { formatByteSize } from '../base/byte-size.ts'
import type { Config } from './config.ts'
import type { LoadedConfig } from './load-config.ts'
import { environmentNameOf, flagOf, optionNames, optionTable } from './option-table.ts'

export interface OptionHelp {
  readonly key: string
  /** `--slice-max <duration>`; switches take an optional value: `--insecure [true|false]`. */
  readonly flags: string
  readonly description: string
  readonly defaultText: string
}

/** One row per option, in the order of the table. */
export function optionHelp(): readonly OptionHelp[] {
  return optionNames.map(name => {
    const { key, placeholder, doc, defaultText } = optionTable[name]
    return { key, flags: `${flagOf(key)} ${placeholder === '' ? '[true|false]' : placeholder}`, description: doc, defaultText }
  })
}

/** YAML that gives this configuration again, each line with where its value came from. */
export function formatConfig({ config, origins }: LoadedConfig): string {
  const lines = optionNames.map(name => {
    const { source, text } = origins[name]
    return [`${optionTable[name].key}: ${yamlText(text)}`, `# ${source}${resolved(name, config, text)}`] as const
  })
  const width = Math.max(...lines.map(([left]) => left.length))
  return `${lines.map(([left, right]) => `${left.padEnd(width)}  ${right}`).join('\n')}\n`
}

/** The configuration reference, in Markdown. */
export function configurationPage(): string {
  const rows = optionNames.map(name => {
    const { key, doc, wanted, defaultText } = optionTable[name]
    const standard = name === 'name' ? 'name of the host' : defaultText === '' ? 'empty' : `\`${defaultText}\``
    return `| \`${key}\` | ${standard} | ${escapeCell(doc)} | ${escapeCell(wanted)} | \`${flagOf(key)}\`, \`${environmentNameOf(key)}\` |`
  })
  return [
    '# Configuration',
    '',
    'A node takes its options from, in rising priority: the defaults, the YAML file of `--config`, `NEARSTATE_*` variables, flags.',
    '`nearstate start --print-config` shows the result and where each value came from. Unknown names are refused.',
    '',
    '| option | default | meaning | values | flag, variable |',
    '| --- | --- | --- | --- | --- |',
    ...rows,
    '',
  ].join('\n')
}

const escapeCell = (text: string): string => text.replaceAll('|', '\\|')

/** Quoted where YAML would read something else than the text. */
const yamlText = (text: string): string => (/^[A-Za-z0-9][A-Za-z0-9_./-]*%?$/.test(text) ? text : JSON.stringify(text))

/** A share is shown with what it comes to. */
function resolved(name: keyof Config, config: Config, text: string): string {
  return name === 'memoryMaxBytes' && text.endsWith('%') ? ` (${formatByteSize(config.memoryMaxBytes)})` : ''
}
