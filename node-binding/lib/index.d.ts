// Types of the synchronous face, written by hand after the documentation of better-sqlite3.

export = Database;

declare class Database {
	constructor(filename?: string | Buffer, options?: Database.Options);

	readonly name: string;
	readonly open: boolean;
	readonly inTransaction: boolean;
	readonly readonly: boolean;
	readonly memory: boolean;

	/** What goes beyond the drop-in: sync. */
	readonly kith: Database.Kith;

	prepare<Parameters extends unknown[] | {} = unknown[], Row = unknown>(
		source: string,
	): Parameters extends unknown[] ? Database.Statement<Parameters, Row> : Database.Statement<[Parameters], Row>;
	transaction<Fn extends (...args: any[]) => unknown>(fn: Fn): Database.Transaction<Fn>;
	pragma(source: string, options?: Database.PragmaOptions): unknown;
	/** Returns how SQLite would run a statement; `QUERY PLAN …` returns its plan. */
	explain<Row = unknown>(source: string): Row[];
	backup(filename: string, options?: Database.BackupOptions): Promise<Database.BackupProgress>;
	serialize(options?: Database.SerializeOptions): Buffer;
	function(name: string, fn: (...args: any[]) => unknown): this;
	function(name: string, options: Database.FunctionOptions, fn: (...args: any[]) => unknown): this;
	aggregate<State>(name: string, options: Database.AggregateOptions<State>): this;
	table(name: string, definition: Database.TableDefinition | ((...args: string[]) => Database.TableDefinition)): this;
	loadExtension(path: string, entryPoint?: string): this;
	exec(source: string): this;
	close(): this;
	defaultSafeIntegers(on?: boolean): this;
	unsafeMode(on?: boolean): this;
}

declare namespace Database {
	export { Database };

	class SqliteError extends Error {
		constructor(message: string, code: string);
		code: string;
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

	interface Statement<Parameters extends unknown[] = unknown[], Row = unknown> {
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

	interface Transaction<Fn extends (...args: any[]) => unknown> {
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
		rows: (...params: any[]) => Generator<unknown[] | Record<string, unknown>>;
	}

	/** What `db.kith.status()` returns; the rows are those of the tables kith_tables, kith_members and kith_peers. */
	interface KithStatus {
		replica: boolean;
		tables: Record<string, unknown>[];
		members: Record<string, unknown>[];
		peers: Record<string, unknown>[];
		conflicts: number;
	}

	interface Kith {
		/** Whether the database belongs to a workspace. */
		readonly isReplica: boolean;
		/** Founds a workspace in the open database; statements prepared before are closed. */
		init(options: { name: string }): Database;
		/** Has the writes to a table, or with `*` to all tables that are fit, recorded and merged. */
		sync(table: string, options?: Record<string, unknown>): unknown;
		/** Takes a table out again. */
		unsync(table: string): void;
		/** Tells what this database is to the workspace. */
		status(): KithStatus;
	}
}
