/**
 * Bytes that nodes and clients of the first wire version send, and what they mean. Only ever added to: nodes of two versions talk to each
 * other during an upgrade, so what is written here is read for ever. New fields do not show up here; new messages do.
 */
import * as Data from '../../../src/wire/generated/nearstate/v1/data.ts'
import * as Peer from '../../../src/wire/generated/nearstate/v1/peer.ts'

export interface Sample {
  readonly codec: { decode(bytes: Uint8Array): unknown }
  readonly bytes: Buffer
  readonly value: object
}

const hex = (text: string): Buffer => Buffer.from(text, 'hex')

export const messages: readonly (readonly [string, Sample])[] = [
  [
    'OperationBatch',
    {
      codec: Data.OperationBatch,
      bytes: hex(
        '080110818080808080801018ffffffff0f221e0802120870726f66696c65731a08637573746f6d65722206737472696e672a0203013201023a020203' +
          '42056b316b65794a0202005202cd015a2c080110e0d4031800204d2a09616464506f696e747330ef013a0363757240644a0370726550015803600168' +
          '016801721508ef011210000000000000000200000000000003e97a03ac02008201020200',
      ),
      value: {
        wireVersion: 1,
        tableVersion: 9007199254740993n,
        firstId: 4294967295,
        maps: [{ slot: 2, name: 'profiles', keySpace: 'customer', keyCodec: 'string' }],
        kinds: [3, 1],
        mapSlots: [2],
        keyLengths: [2, 3],
        keys: hex('6b316b6579'),
        valueLengths: [2, 0],
        values: hex('cd01'),
        options: [
          {
            index: 1,
            ttlMs: 60000n,
            maxIdleMs: 0n,
            ifVersion: 77n,
            function: 'addPoints',
            partition: 239,
            cursor: hex('637572'),
            limit: 100,
            prefix: hex('707265'),
            keysOnly: true,
            upload: 3,
            withVersion: true,
            anyReplica: true,
          },
        ],
        chunk: undefined,
        gateway: true,
        sessions: [{ partition: 239, ticket: hex('000000000000000200000000000003e9') }],
        requestNumbers: [300, 0],
        unansweredDistances: [2, 0],
      },
    },
  ],
  [
    'OperationBatch',
    {
      codec: Data.OperationBatch,
      bytes: hex('5a00620c080312047061727418818010'),
      value: {
        wireVersion: 0,
        tableVersion: 0n,
        firstId: 0,
        maps: [],
        kinds: [],
        mapSlots: [],
        keyLengths: [],
        keys: hex(''),
        valueLengths: [],
        values: hex(''),
        options: [
          {
            index: 0,
            ttlMs: undefined,
            maxIdleMs: undefined,
            ifVersion: undefined,
            function: '',
            partition: 0,
            cursor: hex(''),
            limit: 0,
            prefix: hex(''),
            keysOnly: false,
            upload: 0,
            withVersion: false,
            anyReplica: false,
          },
        ],
        chunk: { id: 3, data: hex('70617274'), totalBytes: 262145n },
        gateway: false,
        sessions: [],
        requestNumbers: [],
        unansweredDistances: [],
      },
    },
  ],
  [
    'ResultBatch',
    {
      codec: Data.ResultBatch,
      bytes: hex(
        '080c120207092a020104320202003a02cd01422b080110051880d095ffbc312208434f4e464c4943542a0c76657273696f6e20697320353204617420' +
          '6638015001',
      ),
      value: {
        tableVersion: 12n,
        ids: [7, 9],
        firstId: 0,
        count: 0,
        statuses: [1, 4],
        valueLengths: [2, 0],
        values: hex('cd01'),
        details: [
          {
            index: 1,
            version: 5n,
            expiresAtMs: 1700000000000n,
            errorCode: 'CONFLICT',
            errorMessage: 'version is 5',
            functionStack: 'at f',
            chunked: true,
          },
        ],
        chunk: undefined,
        last: true,
      },
    },
  ],
  [
    'ResultBatch',
    {
      codec: Data.ResultBatch,
      bytes: hex('080c182820032a0106'),
      value: {
        tableVersion: 12n,
        ids: [],
        firstId: 40,
        count: 3,
        statuses: [6],
        valueLengths: [],
        values: hex(''),
        details: [],
        chunk: undefined,
        last: false,
      },
    },
  ],
  [
    'ResultBatch',
    {
      codec: Data.ResultBatch,
      bytes: hex('080c4a0c082912047061727418818010'),
      value: {
        tableVersion: 12n,
        ids: [],
        firstId: 0,
        count: 0,
        statuses: [],
        valueLengths: [],
        values: hex(''),
        details: [],
        chunk: { id: 41, data: hex('70617274'), totalBytes: 262145n },
        last: false,
      },
    },
  ],
  [
    'ScanPage',
    {
      codec: Data.ScanPage,
      bytes: hex('0a02010212036162631a0201002201052a046e657874'),
      value: { keyLengths: [1, 2], keys: hex('616263'), valueLengths: [1, 0], values: hex('05'), cursor: hex('6e657874') },
    },
  ],
  ['GetRequest', { codec: Data.GetRequest, bytes: hex('0a0870726f66696c657312016b'), value: { map: 'profiles', key: hex('6b') } }],
  [
    'GetResponse',
    {
      codec: Data.GetResponse,
      bytes: hex('080112010518072080d095ffbc31'),
      value: { found: true, value: hex('05'), version: 7n, expiresAtMs: 1700000000000n },
    },
  ],
  [
    'GetResponse',
    { codec: Data.GetResponse, bytes: hex(''), value: { found: false, value: hex(''), version: 0n, expiresAtMs: undefined } },
  ],
  [
    'SetRequest',
    {
      codec: Data.SetRequest,
      bytes: hex('0a0870726f66696c657312016b1a010520e0d403280032180a10000000000000000200000000000003e910ac0218aa02'),
      value: {
        map: 'profiles',
        key: hex('6b'),
        value: hex('05'),
        ttlMs: 60000n,
        maxIdleMs: 0n,
        request: { ticket: hex('000000000000000200000000000003e9'), number: 300, lowestUnanswered: 298 },
      },
    },
  ],
  ['SetResponse', { codec: Data.SetResponse, bytes: hex('0808'), value: { version: 8n } }],
  [
    'DeleteRequest',
    {
      codec: Data.DeleteRequest,
      bytes: hex('0a0870726f66696c657312016b1a180a10000000000000000200000000000003e910ac0218aa02'),
      value: {
        map: 'profiles',
        key: hex('6b'),
        request: { ticket: hex('000000000000000200000000000003e9'), number: 300, lowestUnanswered: 298 },
      },
    },
  ],
  ['DeleteResponse', { codec: Data.DeleteResponse, bytes: hex('0801'), value: { existed: true } }],
  [
    'InvokeRequest',
    {
      codec: Data.InvokeRequest,
      bytes: hex('0a0870726f66696c657312016b1a09616464506f696e74732201052a180a10000000000000000200000000000003e910ac0218aa02'),
      value: {
        map: 'profiles',
        key: hex('6b'),
        function: 'addPoints',
        arguments: hex('05'),
        request: { ticket: hex('000000000000000200000000000003e9'), number: 300, lowestUnanswered: 298 },
      },
    },
  ],
  ['InvokeResponse', { codec: Data.InvokeResponse, bytes: hex('0a0106'), value: { result: hex('06') } }],
  ['OpenSessionRequest', { codec: Data.OpenSessionRequest, bytes: hex('08ef01'), value: { partition: 239 } }],
  [
    'OpenSessionResponse',
    {
      codec: Data.OpenSessionResponse,
      bytes: hex('0a10000000000000000200000000000003e9'),
      value: { ticket: hex('000000000000000200000000000003e9') },
    },
  ],
  [
    'PeerMessage',
    {
      codec: Peer.PeerMessage,
      bytes: hex('0a140801120773686172642d611a0773686172642d62'),
      value: { body: { $case: 'hello', value: { wireVersion: 1, fromShard: 'shard-a', toShard: 'shard-b' } } },
    },
  ],
  [
    'PeerMessage',
    { codec: Peer.PeerMessage, bytes: hex('12056279746573'), value: { body: { $case: 'exchange', value: hex('6279746573') } } },
  ],
  [
    'PeerMessage',
    { codec: Peer.PeerMessage, bytes: hex('1a056279746573'), value: { body: { $case: 'operations', value: hex('6279746573') } } },
  ],
  [
    'PeerMessage',
    { codec: Peer.PeerMessage, bytes: hex('22056279746573'), value: { body: { $case: 'results', value: hex('6279746573') } } },
  ],
  [
    'PeerMessage',
    { codec: Peer.PeerMessage, bytes: hex('2a056279746573'), value: { body: { $case: 'replication', value: hex('6279746573') } } },
  ],
  [
    'ReplicationBatch',
    {
      codec: Peer.ReplicationBatch,
      bytes: hex('0a0773686172642d610a0773686172642d6212056279746573'),
      value: { incarnations: ['shard-a', 'shard-b'], messages: hex('6279746573') },
    },
  ],
  [
    'LoadFunctionsRequest',
    { codec: Peer.LoadFunctionsRequest, bytes: hex('0a04662e74731203616263'), value: { file: 'f.ts', hash: 'abc' } },
  ],
  ['LoadFunctionsResponse', { codec: Peer.LoadFunctionsResponse, bytes: hex('0a01660a0167'), value: { names: ['f', 'g'] } }],
  ['DropMapRequest', { codec: Peer.DropMapRequest, bytes: hex('0a0870726f66696c65731009'), value: { name: 'profiles', id: 9 } }],
  ['DropMapResponse', { codec: Peer.DropMapResponse, bytes: hex(''), value: {} }],
  [
    'StartJobRequest',
    {
      codec: Peer.StartJobRequest,
      bytes: hex('0a016a10022a025b5d'),
      value: { job: 'j', attempt: 2, assignmentJson: '[]' },
    },
  ],
  ['StartJobResponse', { codec: Peer.StartJobResponse, bytes: hex(''), value: {} }],
  [
    'OpenJobRequest',
    {
      codec: Peer.OpenJobRequest,
      bytes: hex('0a016a10021a0361626322027b7d2a025b5d32046e6f6e6538014007'),
      value: { job: 'j', attempt: 2, hash: 'abc', argsJson: '{}', layoutJson: '[]', guarantee: 'none', restoreAttempt: 1, restoreN: 7 },
    },
  ],
  ['OpenJobResponse', { codec: Peer.OpenJobResponse, bytes: hex('0a017812027b7d'), value: { graphHashes: ['x'], splitsJson: ['{}'] } }],
  [
    'BarrierJobRequest',
    { codec: Peer.BarrierJobRequest, bytes: hex('0a016a100218032001'), value: { job: 'j', attempt: 2, n: 3, committed: 1 } },
  ],
  ['BarrierJobResponse', { codec: Peer.BarrierJobResponse, bytes: hex('0a027b7d'), value: { json: '{}' } }],
  [
    'CommitJobRequest',
    { codec: Peer.CommitJobRequest, bytes: hex('0a016a100218032001'), value: { job: 'j', attempt: 2, n: 3, isLast: true } },
  ],
  ['DropJobRequest', { codec: Peer.DropJobRequest, bytes: hex('0a016a10021a0173'), value: { job: 'j', attempt: 2, keep: ['s'] } }],
  ['DropJobResponse', { codec: Peer.DropJobResponse, bytes: hex('0a0303ac02'), value: { partitions: [3, 300] } }],
  [
    'SavepointJobRequest',
    { codec: Peer.SavepointJobRequest, bytes: hex('0a016a10021803220173'), value: { job: 'j', attempt: 2, n: 3, savepoint: 's' } },
  ],
  ['SavepointJobResponse', { codec: Peer.SavepointJobResponse, bytes: hex('0a020001'), value: { shards: [0, 1] } }],
  ['RunJobRequest', { codec: Peer.RunJobRequest, bytes: hex('0a016a1002'), value: { job: 'j', attempt: 2 } }],
  ['RunJobResponse', { codec: Peer.RunJobResponse, bytes: hex(''), value: {} }],
  ['JobProgressResponse', { codec: Peer.JobProgressResponse, bytes: hex('0a027b7d'), value: { json: '{}' } }],
  [
    'BeatRequest',
    {
      codec: Peer.BeatRequest,
      bytes: hex('0a066e6f64652d6112066e6f64652d621829210000000000e05e402a06082912027b7d32066e6f64652d63'),
      value: {
        from: 'node-a',
        to: 'node-b',
        version: 41n,
        sentAtMs: 123.5,
        view: { version: 41n, state: hex('7b7d') },
        suspects: ['node-c'],
      },
    },
  ],
  [
    'BeatRequest',
    {
      codec: Peer.BeatRequest,
      bytes: hex('0a066e6f64652d6112066e6f64652d621829210000000000e05e40'),
      value: { from: 'node-a', to: 'node-b', version: 41n, sentAtMs: 123.5, view: undefined, suspects: [] },
    },
  ],
  [
    'BeatResponse',
    {
      codec: Peer.BeatResponse,
      bytes: hex('0a066e6f64652d6212066e6f64652d611829210000000000e05e4028013206082912027b7d3a066e6f64652d63'),
      value: {
        from: 'node-b',
        to: 'node-a',
        version: 41n,
        sentAtMs: 123.5,
        promised: true,
        view: { version: 41n, state: hex('7b7d') },
        suspects: ['node-c'],
      },
    },
  ],
  [
    'ReplicaRequestMessage',
    {
      codec: Peer.ReplicaRequestMessage,
      bytes: hex('0a0672656d6f76651011180522110a066e6f64652d61120773686172642d612a110a066e6f64652d62120773686172642d6232066e6f64652d63'),
      value: {
        kind: 'remove',
        partition: 17,
        epoch: 5n,
        from: { node: 'node-a', shard: 'shard-a' },
        replica: { node: 'node-b', shard: 'shard-b' },
        silentLeader: 'node-c',
      },
    },
  ],
  ['RequestReplicaResponse', { codec: Peer.RequestReplicaResponse, bytes: hex(''), value: {} }],
  [
    'HandOverOrderMessage',
    {
      codec: Peer.HandOverOrderMessage,
      bytes: hex('081110051a110a066e6f64652d61120773686172642d6122110a066e6f64652d62120773686172642d62'),
      value: { partition: 17, epoch: 5n, from: { node: 'node-a', shard: 'shard-a' }, to: { node: 'node-b', shard: 'shard-b' } },
    },
  ],
  ['OrderHandOverResponse', { codec: Peer.OrderHandOverResponse, bytes: hex(''), value: {} }],
]

/** Frames of replicas. Keys and values as the bytes that they are, wherever in memory they lie. */
export const replication: readonly (readonly [string, { readonly bytes: Buffer; readonly value: object }])[] = [
  [
    'append',
    {
      bytes: hex(
        '0a0773686172642d610a0773686172642d620a066e6f64652d610a066e6f64652d620a066e6f64652d630a0773686172642d6312a101011105000103' +
          '29050f0102000203010405020200030104e907e70785070000000000e05e40027a0200240900000000000030413109030500008056febc7842000026' +
          '65febc7842000000000088b3406b657976616c75650c06410903056b657976616c75650a02e907ac02a9020201053aa90201012209036b6579630903' +
          '000000000058bb406b657905090609070302726b027276080302726b09050b02e9070c',
      ),
      value: {
        kind: 'append',
        partition: 17,
        epoch: 5,
        from: 'shard-a',
        to: 'shard-b',
        record: {
          version: 41,
          row: {
            epoch: 5,
            primary: { node: 'node-a', shard: 'shard-a' },
            backups: [
              { node: 'node-b', shard: 'shard-b' },
              { node: 'node-c', shard: 'shard-c' },
            ],
            inSync: [
              { node: 'node-a', shard: 'shard-a' },
              { node: 'node-b', shard: 'shard-b' },
            ],
            handedOver: true,
            givenUp: 1,
          },
        },
        previous: { epoch: 4, position: 1000 },
        entries: [
          {
            epoch: 4,
            position: 1002,
            effects: [
              { kind: 'openMap', map: 9, limits: { maxBytes: 1048576, eviction: 'lfu' } },
              {
                kind: 'put',
                map: 9,
                key: hex('6b6579'),
                value: hex('76616c7565'),
                expiresAtMs: 1700000060000,
                maxIdleMs: 5000,
                wallTimeMs: 1700000000000,
              },
            ],
          },
          {
            epoch: 5,
            position: 1014,
            effects: [
              {
                kind: 'put',
                map: 9,
                key: hex('6b6579'),
                value: hex('76616c7565'),
                expiresAtMs: 0,
                maxIdleMs: 0,
                wallTimeMs: 1700000000000,
              },
              { kind: 'recordResult', ticketEpoch: 2, ticketPosition: 1001, number: 300, result: hex('0105'), trimTo: 297 },
              { kind: 'recordResult', ticketEpoch: 2, ticketPosition: 1001, number: 301, result: hex('01'), trimTo: 297 },
              { kind: 'remove', map: 9, key: hex('6b6579'), reason: 'evicted' },
              { kind: 'expire', map: 9, key: hex('6b6579'), expiresAtMs: 0, maxIdleMs: 7000, wallTimeMs: 1700000000000 },
              { kind: 'clear', map: 9 },
              { kind: 'dropMap', map: 9 },
              { kind: 'putRecord', space: 3, key: hex('726b'), value: hex('7276') },
              { kind: 'removeRecord', space: 3, key: hex('726b') },
              { kind: 'openSession', epoch: 5 },
              { kind: 'closeSession', ticketEpoch: 2, ticketPosition: 1001 },
              { kind: 'mark' },
            ],
          },
        ],
        committed: 998,
        floor: 900,
        serving: true,
        sentAtMs: 123.5,
      },
    },
  ],
  [
    'append without entries',
    {
      bytes: hex('0a0773686172642d610a0773686172642d621218011105000100058180808080200000000000000000000000'),
      value: {
        kind: 'append',
        partition: 17,
        epoch: 5,
        from: 'shard-a',
        to: 'shard-b',
        previous: { epoch: 5, position: 1099511627776 },
        entries: [],
        committed: -1,
        floor: -1,
        serving: false,
        sentAtMs: 0,
      },
    },
  ],
  [
    'appended',
    {
      bytes: hex('0a0773686172642d610a0773686172642d6212100211050001f707000000000000e05e40'),
      value: { kind: 'appended', partition: 17, epoch: 5, from: 'shard-a', to: 'shard-b', position: 1014, applied: -1, sentAtMs: 123.5 },
    },
  ],
  [
    'hello',
    {
      bytes: hex('0a0773686172642d610a0773686172642d62120a0311050001030104e907'),
      value: {
        kind: 'hello',
        partition: 17,
        epoch: 5,
        from: 'shard-a',
        to: 'shard-b',
        holds: { epoch: 4, position: 1000 },
        givenUp: 1,
        follows: true,
      },
    },
  ],
  [
    'hello of who holds nothing',
    {
      bytes: hex('0a0773686172642d610a0773686172642d62120703110500010000'),
      value: { kind: 'hello', partition: 17, epoch: 5, from: 'shard-a', to: 'shard-b', holds: undefined, givenUp: 0, follows: false },
    },
  ],
  [
    'served',
    {
      bytes: hex('0a0773686172642d610a0773686172642d6212050411050001'),
      value: { kind: 'served', partition: 17, epoch: 5, from: 'shard-a', to: 'shard-b' },
    },
  ],
  [
    'chunk of entries',
    {
      bytes: hex(
        '0a0773686172642d610a0773686172642d62126405110500018180c0020305df0703eb0700000000000000f0ff80200447240900000000000030410d' +
          'de073109030500008056febc784200002665febc7842000000000088b3406b657976616c7565070302726b0272760e02e907a90201ac02ec07020105',
      ),
      value: {
        kind: 'chunk',
        partition: 17,
        epoch: 5,
        from: 'shard-a',
        to: 'shard-b',
        snapshot: 5242881,
        index: 3,
        chunk: {
          position: 1002,
          first: true,
          effects: [
            { kind: 'openMap', map: 9, limits: { maxBytes: 1048576, eviction: 'lfu' } },
            {
              kind: 'restore',
              put: {
                kind: 'put',
                map: 9,
                key: hex('6b6579'),
                value: hex('76616c7565'),
                expiresAtMs: 1700000060000,
                maxIdleMs: 5000,
                wallTimeMs: 1700000000000,
              },
              version: 990,
            },
            { kind: 'putRecord', space: 3, key: hex('726b'), value: hex('7276') },
            {
              kind: 'restoreSession',
              session: { epoch: 2, position: 1001, trimmedTo: 297, results: new Map([[300, { result: hex('0105'), position: 1004 }]]) },
            },
          ],
          cursor: { kind: 'entries', map: Number.NEGATIVE_INFINITY, place: 4096 },
        },
        start: { epoch: 5, position: 990 },
      },
    },
  ],
  [
    'chunk of records',
    {
      bytes: hex(
        '0a0773686172642d610a0773686172642d62126505110500018180c0020305df0702eb0701000000000000084002726b044724090000000000003041' +
          '0dde073109030500008056febc784200002665febc7842000000000088b3406b657976616c7565070302726b0272760e02e907a90201ac02ec070201' +
          '05',
      ),
      value: {
        kind: 'chunk',
        partition: 17,
        epoch: 5,
        from: 'shard-a',
        to: 'shard-b',
        snapshot: 5242881,
        index: 3,
        chunk: {
          position: 1002,
          first: false,
          effects: [
            { kind: 'openMap', map: 9, limits: { maxBytes: 1048576, eviction: 'lfu' } },
            {
              kind: 'restore',
              put: {
                kind: 'put',
                map: 9,
                key: hex('6b6579'),
                value: hex('76616c7565'),
                expiresAtMs: 1700000060000,
                maxIdleMs: 5000,
                wallTimeMs: 1700000000000,
              },
              version: 990,
            },
            { kind: 'putRecord', space: 3, key: hex('726b'), value: hex('7276') },
            {
              kind: 'restoreSession',
              session: { epoch: 2, position: 1001, trimmedTo: 297, results: new Map([[300, { result: hex('0105'), position: 1004 }]]) },
            },
          ],
          cursor: { kind: 'records', space: 3, from: hex('726b') },
        },
        start: { epoch: 5, position: 990 },
      },
    },
  ],
  [
    'chunk of sessions',
    {
      bytes: hex(
        '0a0773686172642d610a0773686172642d62126205110500018180c0020305df0702eb07020000000000488f400447240900000000000030410dde07' +
          '3109030500008056febc784200002665febc7842000000000088b3406b657976616c7565070302726b0272760e02e907a90201ac02ec07020105',
      ),
      value: {
        kind: 'chunk',
        partition: 17,
        epoch: 5,
        from: 'shard-a',
        to: 'shard-b',
        snapshot: 5242881,
        index: 3,
        chunk: {
          position: 1002,
          first: false,
          effects: [
            { kind: 'openMap', map: 9, limits: { maxBytes: 1048576, eviction: 'lfu' } },
            {
              kind: 'restore',
              put: {
                kind: 'put',
                map: 9,
                key: hex('6b6579'),
                value: hex('76616c7565'),
                expiresAtMs: 1700000060000,
                maxIdleMs: 5000,
                wallTimeMs: 1700000000000,
              },
              version: 990,
            },
            { kind: 'putRecord', space: 3, key: hex('726b'), value: hex('7276') },
            {
              kind: 'restoreSession',
              session: { epoch: 2, position: 1001, trimmedTo: 297, results: new Map([[300, { result: hex('0105'), position: 1004 }]]) },
            },
          ],
          cursor: { kind: 'sessions', from: 1001 },
        },
        start: { epoch: 5, position: 990 },
      },
    },
  ],
  [
    'last chunk',
    {
      bytes: hex(
        '0a0773686172642d610a0773686172642d62125905110500018180c0020305df0700eb070447240900000000000030410dde073109030500008056fe' +
          'bc784200002665febc7842000000000088b3406b657976616c7565070302726b0272760e02e907a90201ac02ec07020105',
      ),
      value: {
        kind: 'chunk',
        partition: 17,
        epoch: 5,
        from: 'shard-a',
        to: 'shard-b',
        snapshot: 5242881,
        index: 3,
        chunk: {
          position: 1002,
          first: false,
          effects: [
            { kind: 'openMap', map: 9, limits: { maxBytes: 1048576, eviction: 'lfu' } },
            {
              kind: 'restore',
              put: {
                kind: 'put',
                map: 9,
                key: hex('6b6579'),
                value: hex('76616c7565'),
                expiresAtMs: 1700000060000,
                maxIdleMs: 5000,
                wallTimeMs: 1700000000000,
              },
              version: 990,
            },
            { kind: 'putRecord', space: 3, key: hex('726b'), value: hex('7276') },
            {
              kind: 'restoreSession',
              session: { epoch: 2, position: 1001, trimmedTo: 297, results: new Map([[300, { result: hex('0105'), position: 1004 }]]) },
            },
          ],
          cursor: undefined,
        },
        start: { epoch: 5, position: 990 },
      },
    },
  ],
  [
    'chunkTaken',
    {
      bytes: hex('0a0773686172642d610a0773686172642d62120a06110500018180c00203'),
      value: { kind: 'chunkTaken', partition: 17, epoch: 5, from: 'shard-a', to: 'shard-b', snapshot: 5242881, index: 3 },
    },
  ],
]
