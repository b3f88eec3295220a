// Types of the promise face, written by hand after the documentation of the `sqlite` package.

import * as sqlite3 from '../sqlite3';

/** A text, or a text with its values as the sql-template-strings package makes one. */
export type SqlType = string | { sql: string; values?: any[] };

export interface Config {
	filename: string;
	/** Flags of `kithdb/sqlite3`. */
	mode?: number;
	/** The class that opens the database; that of `kithdb/sqlite3` unless another is given. */
	driver?: any;
}

export interface RunResult<Stmt extends sqlite3.Statement = sqlite3.Statement> {
	stmt: Statement<Stmt>;
	lastID?: number;
	changes?: number;
}

export interface MigrationData {
	id: number;
	name: string;
	up: string;
	down: string;
}

export interface MigrationParams {
	/** Takes the latest migration back and does it again. */
	force?: boolean;
	/** The table that says which were done; `migrations` unless given. */
	table?: string;
	/** The directory of files such as `001-initial.sql`; `migrations` unless given. */
	migrationsPath?: string;
	/** Migrations instead of files. */
	migrations?: readonly MigrationData[];
}

export function open<Driver extends sqlite3.Database = sqlite3.Database, Stmt extends sqlite3.Statement = sqlite3.Statement>(
	config: Config,
): Promise<Database<Driver, Stmt>>;

export class Database<Driver extends sqlite3.Database = sqlite3.Database, Stmt extends sqlite3.Statement = sqlite3.Statement> {
	constructor(config: Config);

	config: Config;
	db: Driver;

	getDatabaseInstance(): Driver;
	on(event: string, listener: (...values: any[]) => void): void;
	open(): Promise<void>;
	close(): Promise<void>;
	configure(option: string, ...values: any[]): void;
	run(sql: SqlType, ...parameters: any[]): Promise<RunResult<Stmt>>;
	get<T = any>(sql: SqlType, ...parameters: any[]): Promise<T | undefined>;
	all<T = any[]>(sql: SqlType, ...parameters: any[]): Promise<T>;
	each<T = any>(sql: SqlType, callback: (error: any, row: T) => void): Promise<number>;
	each<T = any>(sql: SqlType, parameters: any, callback: (error: any, row: T) => void): Promise<number>;
	each(sql: SqlType, ...parameters: any[]): Promise<number>;
	exec(sql: SqlType): Promise<void>;
	prepare(sql: SqlType, ...parameters: any[]): Promise<Statement<Stmt>>;
	loadExtension(path: string): Promise<void>;
	migrate(options?: MigrationParams): Promise<void>;
}

export class Statement<Stmt extends sqlite3.Statement = sqlite3.Statement> {
	constructor(stmt: Stmt);

	stmt: Stmt;

	getStatementInstance(): Stmt;
	bind(...parameters: any[]): Promise<void>;
	reset(): Promise<void>;
	finalize(): Promise<void>;
	run(...parameters: any[]): Promise<RunResult<Stmt>>;
	get<T = any>(...parameters: any[]): Promise<T | undefined>;
	all<T = any[]>(...parameters: any[]): Promise<T>;
	each<T = any>(callback: (error: any, row: T) => void): Promise<number>;
	each<T = any>(parameters: any, callback: (error: any, row: T) => void): Promise<number>;
	each(...parameters: any[]): Promise<number>;
}

/** SQLite's errors as `connect` has them: `code` is the name of the extended result code, `rawCode` its number. */
export class SqliteError extends Error {
	constructor(message: string, code: string);
	code: string;
	rawCode?: number;
}

export interface ConnectOptions {
	/** How long to wait for a lock, in milliseconds; not at all unless given. */
	timeout?: number;
}

export interface ConnectedRunResult {
	changes: number;
	lastInsertRowid: number;
}

export interface ColumnDescription {
	name: string;
	column: string | null;
	table: string | null;
	database: string | null;
	type: string | null;
}

/** A statement of a batch: its text, or that with its parameters. */
export type BatchStatement = string | { sql: string; args?: any[] | Record<string, any> };

export type BatchMode = 'read' | 'write' | 'deferred' | 'immediate' | 'exclusive';

export interface BatchOptions {
	/** The transaction to run in, unless one is open; without it each statement commits by itself. */
	mode?: BatchMode;
	/** Whether rows are arrays. */
	raw?: boolean;
}

export interface BatchResult<Row = any> {
	columns: string[];
	/** The types as declared; empty where there is none. */
	columnTypes: string[];
	rows: Row[];
	/** How many rows a statement changed that returns none. */
	rowsAffected: number;
}

/** What `ConnectedDatabase#transaction` returns; each of the functions runs the one given within a transaction. */
export interface ConnectedTransaction<Parameters extends unknown[], Result> {
	(...parameters: Parameters): Promise<Result>;
	default(...parameters: Parameters): Promise<Result>;
	deferred(...parameters: Parameters): Promise<Result>;
	immediate(...parameters: Parameters): Promise<Result>;
	exclusive(...parameters: Parameters): Promise<Result>;
	readonly database: ConnectedDatabase;
}

/** A database in the shape of libsql's promises. Parameters are values one by one, an array, or an object of names. */
export interface ConnectedDatabase {
	readonly name: string;
	readonly open: boolean;
	readonly memory: boolean;
	/** Whether a transaction was open after what has ended last. */
	readonly inTransaction: boolean;

	prepare<Row = any>(sql: string): Promise<ConnectedStatement<Row>>;
	exec(sql: string): Promise<void>;
	run(sql: string, ...parameters: any[]): Promise<ConnectedRunResult>;
	get<Row = any>(sql: string, ...parameters: any[]): Promise<Row | undefined>;
	all<Row = any>(sql: string, ...parameters: any[]): Promise<Row[]>;
	iterate<Row = any>(sql: string, ...parameters: any[]): Promise<AsyncIterableIterator<Row>>;
	pragma(source: string, options?: { simple?: boolean }): Promise<any>;
	transaction<Parameters extends unknown[], Result>(
		fn: (...parameters: Parameters) => Result | Promise<Result>,
	): ConnectedTransaction<Parameters, Result>;
	/** Runs the statements one after the other; what fails ends it, and undoes the transaction if a mode was given. */
	batch<Row = any>(statements: readonly BatchStatement[], options?: BatchMode | BatchOptions): Promise<BatchResult<Row>[]>;
	loadExtension(path: string): Promise<void>;
	/** Has what is being done end with an error. */
	interrupt(): void;
	defaultSafeIntegers(on?: boolean): this;
	/** Closes the database after all that was asked before. */
	close(): Promise<void>;
}

export interface ConnectedStatement<Row = any> {
	/** Whether the statement returns rows. */
	readonly reader: boolean;

	run(...parameters: any[]): Promise<ConnectedRunResult>;
	get(...parameters: any[]): Promise<Row | undefined>;
	all(...parameters: any[]): Promise<Row[]>;
	/** The rows are read some at a time, by a statement of its own. */
	iterate(...parameters: any[]): Promise<AsyncIterableIterator<Row>>;
	raw(on?: boolean): this;
	pluck(on?: boolean): this;
	safeIntegers(on?: boolean): this;
	columns(): ColumnDescription[];
	interrupt(): this;
}

/** Opens a database in the shape of libsql's promises; its SQL runs on a thread of its own. */
export function connect(path: string, options?: ConnectOptions): Promise<ConnectedDatabase>;
