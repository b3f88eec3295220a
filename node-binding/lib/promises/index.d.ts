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
