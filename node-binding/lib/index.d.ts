// Types of the synchronous face, written by hand after the documentation of better-sqlite3; a program that was written against
// @types/better-sqlite3 compiles against them.

/// <reference types="node" />

export = Database;

declare const Database: Database.DatabaseConstructor;
type Database = Database.Database;

declare class SqliteErrorClass extends Error {
	constructor(message: string, code: string);
	/** SQLite's extended result code by its name, such as SQLITE_CONSTRAINT_UNIQUE. */
	code: string;
}

// Only types are in it, so that the constructor beside it can be called without `new` too.
declare namespace Database {
	// With one list, what is not in it is not exported.
	export {
		Database, DatabaseConstructor, SqliteError, Options, RunResult, ColumnDefinition, Statement, Transaction, PragmaOptions,
		SerializeOptions, BackupProgress, BackupMetadata, BackupOptions, FunctionOptions, RegistrationOptions, AggregateOptions,
		TableDefinition,
		KithStatus, KithMember, KithOpenOptions, KithInviteOptions, KithJoinOptions, KithWatchOptions, KithSession, KithPeerStatus,
		KithPeerEvents, KithPeer, KithWatchCallback, KithChange, KithCellChange, KithSyncName, KithToldOf, KithEvents, Kith,
		KithWhere, KithWhereValue, KithTextSearchOptions, KithTextHit, KithFuzzySearchOptions, KithFuzzyHit, KithHybridSearchOptions, KithModelSearchOptions, KithHybridHit,
		KithEdgeTable, KithNodeTable, KithGraphDefinition, KithGraphId, KithGraphValue, KithGraphCondition, KithGraphOptions, KithWalkOptions, KithGraph,
	};

	interface DatabaseConstructor {
		new (filename?: string | Buffer, options?: Options): Database;
		(filename?: string | Buffer, options?: Options): Database;
		readonly prototype: Database;
		readonly SqliteError: typeof SqliteErrorClass;
	}

	type SqliteError = SqliteErrorClass;

	interface Database {
		readonly name: string;
		readonly open: boolean;
		readonly inTransaction: boolean;
		readonly readonly: boolean;
		readonly memory: boolean;

		/** What goes beyond the drop-in: sync. */
		readonly kith: Kith;

		prepare<Parameters extends unknown[] | {} = unknown[], Row = unknown>(source: string): Statement<Parameters, Row>;
		transaction<Fn extends (...args: any[]) => unknown>(fn: Fn): Transaction<Fn>;
		pragma(source: string, options?: PragmaOptions): unknown;
		/** Returns how SQLite would run a statement; `QUERY PLAN …` returns its plan. */
		explain<Row = unknown>(source: string): Row[];
		backup(filename: string, options?: BackupOptions): Promise<BackupProgress>;
		serialize(options?: SerializeOptions): Buffer;
		function(name: string, fn: (...args: any[]) => unknown): this;
		function(name: string, options: FunctionOptions, fn: (...args: any[]) => unknown): this;
		aggregate<State>(name: string, options: AggregateOptions<State>): this;
		table(name: string, definition: TableDefinition | ((...args: string[]) => TableDefinition)): this;
		loadExtension(path: string, entryPoint?: string): this;
		exec(source: string): this;
		close(): this;
		defaultSafeIntegers(on?: boolean): this;
		unsafeMode(on?: boolean): this;
	}

	interface Options {
		readonly?: boolean;
		fileMustExist?: boolean;
		timeout?: number;
		verbose?: ((message?: unknown, ...additional: unknown[]) => void) | null;
		nativeBinding?: string | object | null;
	}

	interface RunResult {
		changes: number;
		lastInsertRowid: number | bigint;
	}

	interface ColumnDefinition {
		name: string;
		column: string | null;
		table: string | null;
		database: string | null;
		type: string | null;
	}

	/** A statement; its parameters are a list of what its methods are called with, or the one object that holds them by name. */
	type Statement<Parameters extends unknown[] | {} = unknown[], Row = unknown> = Parameters extends unknown[]
		? PreparedStatement<Parameters, Row>
		: PreparedStatement<[Parameters], Row>;

	interface PreparedStatement<Parameters extends unknown[], Row> {
		readonly database: Database;
		readonly source: string;
		readonly reader: boolean;
		readonly readonly: boolean;
		readonly busy: boolean;

		run(...params: Parameters): RunResult;
		get(...params: Parameters): Row | undefined;
		all(...params: Parameters): Row[];
		iterate(...params: Parameters): IterableIterator<Row>;
		bind(...params: Parameters): this;
		pluck(on?: boolean): this;
		expand(on?: boolean): this;
		raw(on?: boolean): this;
		safeIntegers(on?: boolean): this;
		columns(): ColumnDefinition[];
		/** Returns the SQL, with the values that `bind()` has set. */
		toString(): string;
	}

	interface Transaction<Fn extends (...args: any[]) => unknown = (...args: any[]) => unknown> {
		(...params: Parameters<Fn>): ReturnType<Fn>;
		readonly database: Database;
		readonly default: Transaction<Fn>;
		readonly deferred: Transaction<Fn>;
		readonly immediate: Transaction<Fn>;
		readonly exclusive: Transaction<Fn>;
	}

	interface PragmaOptions {
		simple?: boolean;
	}

	interface SerializeOptions {
		attached?: string;
	}

	interface BackupProgress {
		totalPages: number;
		remainingPages: number;
	}

	/** The name that @types/better-sqlite3 has for it. */
	type BackupMetadata = BackupProgress;

	interface BackupOptions {
		attached?: string;
		progress?: ((progress: BackupProgress) => number | undefined) | null;
	}

	interface FunctionOptions {
		varargs?: boolean;
		deterministic?: boolean;
		directOnly?: boolean;
		safeIntegers?: boolean;
	}

	/** The name that @types/better-sqlite3 has for it. */
	type RegistrationOptions = FunctionOptions;

	interface AggregateOptions<State = any> extends FunctionOptions {
		start?: State | (() => State);
		step: (total: State, ...next: any[]) => State | void;
		inverse?: (total: State, ...dropped: any[]) => State | void;
		result?: (total: State) => unknown;
	}

	interface TableDefinition {
		columns: string[];
		parameters?: string[];
		safeIntegers?: boolean;
		directOnly?: boolean;
		/** Yields rows, as arrays or as objects by the columns' names. */
		rows: (...params: any[]) => Generator;
	}

	/**
	 * What `db.kith.status()` returns; the rows are those of the tables kith_tables, kith_members and kith_peers. A table's `state` is
	 * `synced`, `unsynced` or `quarantined`, or after `sync('*')` `left out` with the `reason`.
	 */
	interface KithStatus {
		replica: boolean;
		tables: Record<string, unknown>[];
		members: KithMember[];
		peers: Record<string, unknown>[];
		conflicts: number;
	}

	/** A row of kith_members. */
	interface KithMember {
		device: string;
		role: string;
		admitted_at: string | null;
		admitted_by: string | null;
		is_this_device: 0 | 1;
		device_id: string;
	}

	interface KithOpenOptions {
		/**
		 * Where to listen: `true` (the default) on every interface at the port kept in the file, `false` nowhere, `'loopback'` on this
		 * machine only, a port, or addresses such as `/ip4/192.168.1.20/udp/4700/quic-v1`.
		 */
		listen?: boolean | 'loopback' | number | string | string[];
		/** Whether to look for peers on the local network, and to be found there; true by default. */
		mdns?: boolean;
		/** Whether to announce news by gossip, which only makes sync sooner; true by default. */
		gossip?: boolean;
		/** Addresses to dial, again and again until there is a session. */
		peers?: string[];
		/** Whether to dial the addresses at which peers were reached before; true by default. */
		dialPastPeers?: boolean;
		/** How long to look for others before `no-peer-yet` is told; 10,000 by default. */
		reportAfterMs?: number;
		/** How long the peer waits for a lock that the application holds before it goes on with other work; 200 by default. */
		busyTimeoutMs?: number;
		/** Whether the peer keeps the program from ending until it is closed; true by default. */
		keepAlive?: boolean;
	}

	interface KithInviteOptions {
		role: 'writer' | 'owner';
		/** A Date, milliseconds from now, or a text such as 30m, 12h or 7d; one day by default. */
		expires?: Date | number | string;
		/** Where this device can be reached, beside the addresses that it knows of itself. */
		addresses?: string[];
	}

	interface KithJoinOptions {
		/** The name by which people know this device. */
		name: string;
		/** Addresses to ask, beside those in the ticket. */
		peers?: string[];
		/** Whether to ask peers that are found on the local network; true by default. */
		mdns?: boolean;
		/** How long to look for an owner that answers; 10,000 by default. */
		timeoutMs?: number;
		/** Whether rows that are in the file already merge with the workspace's rows of equal key; without it such a file is refused. */
		mergeByKey?: boolean;
	}

	interface KithWatchOptions {
		/** Whether the live query keeps the program from ending until it is stopped or the database is closed; true by default. */
		keepAlive?: boolean;
	}

	interface KithSession {
		device: string;
		author: string;
		address: string;
		path: string;
		caughtUp: boolean;
		sentBytes: number;
		receivedBytes: number;
	}

	interface KithPeerStatus {
		peerId: string;
		addresses: string[];
		sessions: KithSession[];
		tried: { address: string; reason: string | null }[];
	}

	/** The events of a peer, by name, with what listeners are given. */
	interface KithPeerEvents {
		listening: [about: { address: string }];
		'port-busy': [about: { wanted: number; taken: number }];
		'listen-failed': [about: { address: string; reason: string }];
		'mdns-failed': [about: { reason: string }];
		'peer-found': [about: { address: string }];
		'no-peer-yet': [about: { tried: { address: string; reason: string | null }[]; addresses: string[]; mdns: boolean }];
		'dial-failed': [about: { address: string; reason: string }];
		connected: [about: { session: number; device: string; author: string; address: string; path: string }];
		disconnected: [about: { session: number; device: string; reason: string }];
		refused: [about: { address: string; reason: string }];
		progress: [about: { session: number; device: string; haveEntries: number; wantEntries: number; receivedBytes: number }];
		'caught-up': [about: { session: number; device: string }];
		'in-step': [about: { session: number; device: string }];
		sealed: [about: { transactions: number; rowsTakenUp: number }];
		applied: [about: { entries: number; operations: number; rows: Record<string, number>; tablesCreated: string[]; waiting: number }];
		'triggers-left-out': [about: { reason: string }];
		torn: [about: { transactions: number }];
		forged: [about: { device: string | null; sequence: number | null; reason: string }];
		damaged: [about: { device: string; sequence: number }];
		fork: [about: { device: string; sequence: number }];
		'clock-ahead': [about: { device: string; aheadMs: number }];
		'new-incarnation': [about: { reason: string }];
		'written-anew': [about: { reason: string; operations: number }];
		'join-asked': [about: { author: string }];
		admitted: [about: { device: string; author: string }];
		'join-refused': [about: { author: string; reason: string }];
		'members-changed': [about: { operations: number }];
		'receiving-paused': [about: { diskFull: boolean; forMs: number }];
		'receiving-resumed': [about: {}];
		delayed: [about: { reason: string }];
		/** The peer has stopped by itself; without a listener the error is uncaught, as of every EventEmitter. */
		error: [error: Error & { code: 'KITH_STOPPED' }];
		/** The peer has ended; the last event. */
		close: [];
	}

	/** A running peer. */
	interface KithPeer {
		/** The id by which this peer is known on the network. */
		readonly id: string;
		/** Where others can reach it, as far as it is known yet. */
		readonly addresses: string[];
		status(): Promise<KithPeerStatus>;
		/** Seals and sends what is pending and ends; takes at most some seconds. */
		close(): Promise<void>;
		on<Name extends keyof KithPeerEvents>(name: Name, listener: (...given: KithPeerEvents[Name]) => void): this;
		once<Name extends keyof KithPeerEvents>(name: Name, listener: (...given: KithPeerEvents[Name]) => void): this;
		off<Name extends keyof KithPeerEvents>(name: Name, listener: (...given: KithPeerEvents[Name]) => void): this;
	}

	/** Entries of the log that were merged into a table, one at a time: written here and sealed, or received. */
	interface KithChange {
		/** The number under which the entry arrived here. */
		entry: number;
		table: string;
		/** The device that wrote it; null if its admission is not known. */
		device: string | null;
		isOwn: boolean;
		/** What it wrote, cell by cell, as in kith_changes. */
		changes: KithCellChange[];
	}

	interface KithCellChange {
		operation: 'insert' | 'update' | 'delete' | 'move';
		/** The row's key, as SQL. */
		rowKey: string;
		/** The column that was written, if one was. */
		column: string | null;
		value: unknown;
		writtenAt: string | null;
	}

	/** What peers tell of what they do with the log; the rest of KithPeerEvents is about peers. */
	type KithSyncName =
		| 'progress' | 'caught-up' | 'in-step' | 'sealed' | 'applied' | 'triggers-left-out' | 'torn' | 'forged' | 'damaged' | 'fork'
		| 'clock-ahead' | 'new-incarnation' | 'written-anew' | 'receiving-paused' | 'receiving-resumed' | 'delayed';

	/** An event of a peer as one object: which it is, of which peer, and what the peer's listeners are given. */
	type KithToldOf<Name extends keyof KithPeerEvents> = {
		[Each in Name]: { event: Each; peerId: string } & (KithPeerEvents[Each] extends [infer About] ? About : {});
	}[Name];

	/** The events of `db.kith`, by name, with what listeners are given. */
	interface KithEvents {
		change: [change: KithChange];
		/** A row of kith_conflicts that was not there before. */
		conflict: [conflict: Record<string, unknown>];
		/** Of peers that `db.kith.open` has started; `failed` is what a peer's own listeners hear of as `error`. */
		peer: [about: KithToldOf<Exclude<keyof KithPeerEvents, KithSyncName | 'error'>> | { event: 'failed'; peerId: string; reason: string }];
		sync: [about: KithToldOf<KithSyncName>];
	}

	/** Called with the rows, or if the query failed with `undefined` and the error. */
	type KithWatchCallback<Row> = (rows: Row[] | undefined, error?: Error) => unknown;

	/**
	 * Conditions on the columns of the table: a value, a list of values, or comparisons with `=`, `<>`, `<`, `<=`, `>`, `>=`, `like`.
	 * A row that does not satisfy all of them is not found.
	 */
	type KithWhere = Record<string, KithWhereValue | KithWhereValue[] | Record<string, KithWhereValue>>;
	type KithWhereValue = string | number | boolean | null;

	interface KithTextSearchOptions {
		/** How many rows at most; 10 unless given. */
		limit?: number;
		/** Whether any of the words will do (the default, ranked) or all must be there. */
		match?: 'any' | 'all';
		/** The indexed columns that are looked in. */
		columns?: string[];
		/** What a word counts in each column; 1 where nothing is said. */
		weights?: Record<string, number>;
		where?: KithWhere;
		/** What is put before and after each word that fits; `[` and `]` unless given. The text around it is not escaped. */
		before?: string;
		after?: string;
		/** About how many words a snippet has; 16 unless given. */
		words?: number;
		hybrid?: false;
	}
	interface KithTextHit {
		/** The primary key's value; a JSON array of its values, as text, where it has several columns. */
		key: unknown;
		/** BM25; greater is better. */
		score: number;
		snippet: string | null;
		/** Each indexed column with what fits marked. */
		highlight: Record<string, string | null>;
	}
	interface KithFuzzySearchOptions {
		/** The column whose values are compared with the text. */
		fuzzy: string;
		limit?: number;
		/** What is less like the text than this, from 0 to 1, is left out; 0.4 unless given. */
		min?: number;
		where?: KithWhere;
	}
	interface KithFuzzyHit {
		key: unknown;
		value: unknown;
		/** From 0 to 1. */
		score: number;
		/** How many characters were inserted, deleted, replaced, or swapped with their neighbour. */
		distance: number;
	}
	interface KithHybridSearchOptions extends KithModelSearchOptions {
		embedding: Float32Array | number[] | Uint8Array;
	}
	/** By text and embedding, where the model that the kith_vector table declares embeds the text. */
	interface KithModelSearchOptions {
		hybrid?: boolean;
		limit?: number;
		weights?: { text?: number; embedding?: number };
		where?: KithWhere;
		/** How many rows of each ranking are fused. */
		pool?: number;
		match?: 'any' | 'all';
		/** The kith_vector table, where the table has several. */
		index?: string;
	}
	interface KithHybridHit {
		key: unknown;
		/** The sum of weight / (60 + rank) over both rankings. */
		score: number;
		text_rank: number | null;
		text_score: number | null;
		embedding_rank: number | null;
		distance: number | null;
	}

	/** One table of edges in a graph. */
	interface KithEdgeTable {
		table: string;
		/** The columns of the two ends; the table's two foreign keys if both are left out. */
		from?: string;
		to?: string;
		/** The column that says what kind of edge a row is. */
		type?: string;
		/** What kind of edge every row is, where no column says it; the table's name by default. */
		label?: string;
		weight?: string;
		/** The column that names a row; its primary key or rowid by default. */
		id?: string;
		/** Which of several tables of nodes the ends belong to. */
		from_nodes?: string;
		to_nodes?: string;
	}

	type KithNodeTable = string | { table: string; key?: string };

	/** What a graph is made of: an edge table, several, or foreign keys (of all tables if none are named). */
	type KithGraphDefinition =
		| ({ nodes?: KithNodeTable; edges: string; undirected?: boolean } & Pick<KithEdgeTable, 'from' | 'to' | 'type' | 'weight' | 'id'>)
		| { nodes?: KithNodeTable | KithNodeTable[]; edges: KithEdgeTable[]; undirected?: boolean }
		| { tables?: string[]; undirected?: boolean };

	type KithGraphId = number | bigint | string | Buffer | null;
	type KithGraphValue = string | number | boolean | null;
	type KithGraphCondition = KithGraphValue | KithGraphValue[] | Partial<
		Record<'=' | '!=' | '<' | '<=' | '>' | '>=' | 'like' | 'glob', KithGraphValue> & Record<'in' | 'not_in', KithGraphValue[]>
	>;

	interface KithGraphOptions {
		type?: string | number | (string | number)[];
		/** Conditions on columns of the edge tables. */
		edge_where?: Record<string, KithGraphCondition>;
		/** Conditions on columns of the node tables; a node that fails them is not passed through either. */
		node_where?: Record<string, KithGraphCondition>;
		/** How many rows to return at most. */
		limit?: number;
	}

	interface KithWalkOptions extends KithGraphOptions {
		direction?: 'out' | 'in' | 'both';
		/** The table that the id belongs to, in a graph with several tables of nodes. */
		from_table?: string;
	}

	/** A graph over tables of the file; each method returns the rows of an SQL function. */
	interface KithGraph {
		readonly name: string;
		traverse(start: KithGraphId, options?: KithWalkOptions & { depth?: number | [number, number]; unique?: 'node' | 'path' }): {
			node: unknown; depth: number; path: string; edge: unknown; type: unknown; edge_table: string | null; node_table: string | null;
		}[];
		neighbors(node: KithGraphId, options?: KithWalkOptions): {
			node: unknown; direction: 'out' | 'in' | null; edge: unknown; type: unknown; weight: unknown; edge_table: string; node_table: string | null;
		}[];
		shortestPath(from: KithGraphId, to: KithGraphId, options?: KithWalkOptions & { to_table?: string; weighted?: boolean; depth?: number }): {
			step: number; node: unknown; edge: unknown; type: unknown; weight: unknown; cost: number; edge_table: string | null; node_table: string | null; path: string;
		}[];
		components(options?: KithGraphOptions & { strong?: boolean }): { node: unknown; component: number; size: number; node_table: string | null }[];
		pagerank(options?: KithGraphOptions & { damping?: number; tolerance?: number; iterations?: number; weighted?: boolean }): {
			node: unknown; rank: number; node_table: string | null;
		}[];
		communities(options?: KithGraphOptions & { seed?: number; resolution?: number; weighted?: boolean }): {
			node: unknown; community: number; size: number; node_table: string | null;
		}[];
		/** Forgets the graph; the tables stay. */
		drop(): void;
	}

	interface Kith {
		/** Returns a graph by its name, declared first if a definition is given; works in a plain file too. */
		graph(name: string, definition?: KithGraphDefinition): KithGraph;
		/** Lists the graphs that the file declares, with the indexes that would make them quicker. */
		graphs(): { name: string; definition: string; missing_indexes: string | null; problem: string | null }[];
		/** Whether the database belongs to a workspace. */
		readonly isReplica: boolean;
		/** Founds a workspace in the open database; statements prepared before are closed, live queries end. */
		init(options: { name: string }): Database;
		/** Has the writes to a table, or with `*` to all tables that are fit, now and later, recorded and merged. */
		sync(table: string, options?: Record<string, unknown>): unknown;
		/** Takes a table out again; with `*` none, but tables that are made from now on are no longer taken in. */
		unsync(table: string): void;
		/** Tells what this database is to the workspace. */
		status(): KithStatus;
		/** Returns the rows of a table that fit a text best, by the index that `SELECT kith_text(table, columns)` made. */
		search(table: string, text: string, options?: KithTextSearchOptions): KithTextHit[];
		/** Returns the rows whose value of a column is written most like the text. */
		search(table: string, text: string, options: KithFuzzySearchOptions): KithFuzzyHit[];
		/** Returns the rows that fit text and embedding best together; needs a text index and a kith_vector table. */
		search(table: string, text: string | null, options: KithHybridSearchOptions): KithHybridHit[];
		/** Finds rows by text and embedding, both made of the text; needs a kith_vector table that declares a model. */
		search(table: string, text: string, options: KithModelSearchOptions & { hybrid: true }): KithHybridHit[];
		/** Lists the devices of the workspace: the rows of kith_members. */
		members(): KithMember[];
		/** Lists the replicas that this file has synced with: the rows of kith_peers. */
		peers(): Record<string, unknown>[];
		/** Lists what is in conflict: the rows of kith_conflicts. */
		conflicts(): Record<string, unknown>[];
		/** Starts to sync the database's file. */
		open(options?: KithOpenOptions): Promise<KithPeer>;
		/** Makes a ticket, which is a secret, with which one device can join. */
		invite(options: KithInviteOptions): Promise<string>;
		/** Joins a workspace with the open database, which is closed until the promise is settled. */
		join(ticket: string, options: KithJoinOptions): Promise<Database>;
		/**
		 * Runs a query now and whenever the database has changed; returns the function that ends it.
		 *
		 * Of a table that the workspace has and that has not arrived yet, it tells an error first, and the rows once they are there.
		 */
		watch<Row = unknown>(sql: string, callback: KithWatchCallback<Row>, options?: KithWatchOptions): () => void;
		/** Has a listener be called when something happens to the workspace; listeners do not keep the program from ending. */
		on<Name extends keyof KithEvents>(name: Name, listener: (...given: KithEvents[Name]) => void): this;
		once<Name extends keyof KithEvents>(name: Name, listener: (...given: KithEvents[Name]) => void): this;
		off<Name extends keyof KithEvents>(name: Name, listener: (...given: KithEvents[Name]) => void): this;
		watch<Row = unknown>(
			sql: string,
			parameters: unknown[] | Record<string, unknown> | undefined,
			callback: KithWatchCallback<Row>,
			options?: KithWatchOptions,
		): () => void;
	}
}
