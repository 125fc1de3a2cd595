declare const brand: unique symbol
type Branded<T, Name extends string> = T & { readonly [brand]: Name }

/** 0 .. partitions-1. */
export type PartitionId = Branded<number, 'PartitionId'>
/** Fresh for each start of a node process (its incarnation). */
export type NodeId = Branded<string, 'NodeId'>
/** Fresh for each start of a shard worker (its incarnation). */
export type ShardId = Branded<string, 'ShardId'>
/** Grows with every change of a partition's primary or in-sync set. */
export type Epoch = Branded<number, 'Epoch'>
/** Given to a map when it is created; never used again, also not for a map of the same name. */
export type MapId = Branded<number, 'MapId'>
