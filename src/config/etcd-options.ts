/** Options for a coordinator that is an etcd cluster. Its password is no option: it would be shown by `--print-config`. */
import { text } from './option-kinds.ts'

const host = String.raw`([A-Za-z0-9_.-]+|\[[0-9a-fA-F:]+\])`
const address = String.raw`${host}:\d{1,5}`

export const coordinatorForm = new RegExp(`^(embedded|embedded://${address}|etcds?://${address}(,${address})*)$`)
export const coordinatorWanted = 'embedded, embedded://host:port, or etcd://host:port,host:port,... (etcds: with TLS)'

/** Not options of the table, but known beside them. */
export const etcdPasswordVariable = 'NEARSTATE_ETCD_PASSWORD'

const pemFile = (key: string, doc: string) =>
  text({ key, default: '', doc, placeholder: '<file>', wanted: 'empty, or the path of a PEM file' }, /^.*$/)

export const etcdOptions = {
  etcdUser: text(
    {
      key: 'etcdUser',
      default: '',
      doc: `Name of the user in etcd, where etcd asks for one. Its password is read from etcdPasswordFile, or from ${etcdPasswordVariable}.`,
      placeholder: '<name>',
      wanted: 'empty, or the name of a user of etcd',
    },
    /^\S*$/,
  ),
  etcdPasswordFile: text(
    {
      key: 'etcdPasswordFile',
      default: '',
      doc: 'File whose content is the password of etcdUser; a line break at its end does not count.',
      placeholder: '<file>',
      wanted: 'empty, or the path of a file',
    },
    /^.*$/,
  ),
  etcdCa: pemFile(
    'etcdCa',
    'Certificates of the authority that has signed those of the etcd members. Empty: the authorities that Node.js trusts. With etcds:// only.',
  ),
  etcdCert: pemFile('etcdCert', 'Certificate by which this node is known to etcd, where etcd asks for one. With etcds:// only.'),
  etcdKey: pemFile('etcdKey', 'Private key of etcdCert.'),
} as const
