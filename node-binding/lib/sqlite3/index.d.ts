// Types of the callback face, written by hand after the documentation of node-sqlite3.

/// <reference types="node" />

import { EventEmitter } from 'events';

export const OPEN_READONLY: number;
export const OPEN_READWRITE: number;
export const OPEN_CREATE: number;
export const OPEN_FULLMUTEX: number;
export const OPEN_URI: number;
export const OPEN_SHAREDCACHE: number;
export const OPEN_PRIVATECACHE: number;

export const VERSION: string;
export const SOURCE_ID: string;
export const VERSION_NUMBER: number;

export const OK: number;
export const ERROR: number;
export const INTERNAL: number;
export const PERM: number;
export const ABORT: number;
export const BUSY: number;
export const LOCKED: number;
export const NOMEM: number;
export const READONLY: number;
export const INTERRUPT: number;
export const IOERR: number;
export const CORRUPT: number;
export const NOTFOUND: number;
export const FULL: number;
export const CANTOPEN: number;
export const PROTOCOL: number;
export const EMPTY: number;
export const SCHEMA: number;
export const TOOBIG: number;
export const CONSTRAINT: number;
export const MISMATCH: number;
export const MISUSE: number;
export const NOLFS: number;
export const AUTH: number;
export const FORMAT: number;
export const RANGE: number;
export const NOTADB: number;

export const LIMIT_LENGTH: number;
export const LIMIT_SQL_LENGTH: number;
export const LIMIT_COLUMN: number;
export const LIMIT_EXPR_DEPTH: number;
export const LIMIT_COMPOUND_SELECT: number;
export const LIMIT_VDBE_OP: number;
export const LIMIT_FUNCTION_ARG: number;
export const LIMIT_ATTACHED: number;
export const LIMIT_LIKE_PATTERN_LENGTH: number;
export const LIMIT_VARIABLE_NUMBER: number;
export const LIMIT_TRIGGER_DEPTH: number;
export const LIMIT_WORKER_THREADS: number;

/** Where the addon lies. */
export const path: string;

/** Opens a file once: who opens it again gets the same database. */
export const cached: {
	Database(filename: string, callback?: (this: Database, error: Error | null) => void): Database;
	Database(filename: string, mode?: number, callback?: (this: Database, error: Error | null) => void): Database;
};

/** A statement as the callback of `run` has it. */
export interface RunResult extends Statement {
	lastID: number;
	changes: number;
}

export class Statement extends EventEmitter {
	constructor(database: Database, sql: string, callback?: (this: Statement, error: Error | null) => void);

	readonly sql: string;

	bind(callback?: (error: Error | null) => void): this;
	bind(...parameters: any[]): this;

	reset(callback?: (error: null) => void): this;

	finalize(callback?: (error?: Error) => void): Database;

	run(callback?: (error: Error | null) => void): this;
	run(parameters: any, callback?: (this: RunResult, error: Error | null) => void): this;
	run(...parameters: any[]): this;

	get<T>(callback?: (error: Error | null, row?: T) => void): this;
	get<T>(parameters: any, callback?: (this: RunResult, error: Error | null, row?: T) => void): this;
	get(...parameters: any[]): this;

	all<T>(callback?: (error: Error | null, rows: T[]) => void): this;
	all<T>(parameters: any, callback?: (this: RunResult, error: Error | null, rows: T[]) => void): this;
	all(...parameters: any[]): this;

	each<T>(callback?: (error: Error | null, row: T) => void, complete?: (error: Error | null, count: number) => void): this;
	each<T>(
		parameters: any,
		callback?: (this: RunResult, error: Error | null, row: T) => void,
		complete?: (error: Error | null, count: number) => void,
	): this;
	each(...parameters: any[]): this;

	map(...parameters: any[]): this;
}

export class Database extends EventEmitter {
	constructor(filename: string, callback?: (this: Database, error: Error | null) => void);
	constructor(filename: string, mode?: number, callback?: (this: Database, error: Error | null) => void);

	readonly open: boolean;
	readonly filename: string;
	readonly mode: number;

	close(callback?: (error: Error | null) => void): this;

	run(sql: string, callback?: (this: RunResult, error: Error | null) => void): this;
	run(sql: string, parameters: any, callback?: (this: RunResult, error: Error | null) => void): this;
	run(sql: string, ...parameters: any[]): this;

	get<T>(sql: string, callback?: (this: Statement, error: Error | null, row: T) => void): this;
	get<T>(sql: string, parameters: any, callback?: (this: Statement, error: Error | null, row: T) => void): this;
	get(sql: string, ...parameters: any[]): this;

	all<T>(sql: string, callback?: (this: Statement, error: Error | null, rows: T[]) => void): this;
	all<T>(sql: string, parameters: any, callback?: (this: Statement, error: Error | null, rows: T[]) => void): this;
	all(sql: string, ...parameters: any[]): this;

	each<T>(
		sql: string,
		callback?: (this: Statement, error: Error | null, row: T) => void,
		complete?: (error: Error | null, count: number) => void,
	): this;
	each<T>(
		sql: string,
		parameters: any,
		callback?: (this: Statement, error: Error | null, row: T) => void,
		complete?: (error: Error | null, count: number) => void,
	): this;
	each(sql: string, ...parameters: any[]): this;

	map(sql: string, ...parameters: any[]): this;

	exec(sql: string, callback?: (this: Database, error: Error | null) => void): this;

	prepare(sql: string, callback?: (this: Statement, error: Error | null) => void): Statement;
	prepare(sql: string, parameters: any, callback?: (this: Statement, error: Error | null) => void): Statement;
	prepare(sql: string, ...parameters: any[]): Statement;

	serialize(callback?: () => void): this;
	parallelize(callback?: () => void): this;

	configure(option: 'busyTimeout', milliseconds: number): this;
	configure(option: 'limit', limit: number, value: number): this;
	configure(option: 'trace' | 'profile' | 'change', isOn: any): this;

	loadExtension(filename: string, callback?: (error: Error | null) => void): this;
	wait(callback?: (error: null) => void): this;
	interrupt(): this;

	backup(filename: string, callback?: (this: Backup, error: Error | null) => void): Backup;
	backup(
		filename: string,
		sourceName: string,
		destName: string,
		filenameIsDest: boolean,
		callback?: (this: Backup, error: Error | null) => void,
	): Backup;

	on(event: 'trace', listener: (sql: string) => void): this;
	on(event: 'profile', listener: (sql: string, milliseconds: number) => void): this;
	on(event: 'change', listener: (type: string, database: string, table: string, rowid: number) => void): this;
	on(event: 'error', listener: (error: Error) => void): this;
	on(event: 'open' | 'close', listener: () => void): this;
	on(event: string, listener: (...values: any[]) => void): this;
}

export class Backup extends EventEmitter {
	constructor(
		database: Database,
		filename: string,
		sourceName: string,
		destName: string,
		filenameIsDest: boolean,
		callback?: (this: Backup, error: Error | null) => void,
	);

	readonly idle: boolean;
	readonly completed: boolean;
	readonly failed: boolean;
	readonly remaining: number;
	readonly pageCount: number;
	retryErrors: number[];

	step(pages: number, callback?: (this: Backup, error: Error | null, isDone?: boolean) => void): this;
	finish(callback?: (this: Backup, error?: Error) => void): this;
}

export interface sqlite3 {
	OPEN_READONLY: number;
	OPEN_READWRITE: number;
	OPEN_CREATE: number;
	OPEN_FULLMUTEX: number;
	OPEN_URI: number;
	OPEN_SHAREDCACHE: number;
	OPEN_PRIVATECACHE: number;
	VERSION: string;
	SOURCE_ID: string;
	VERSION_NUMBER: number;
	OK: number;
	ERROR: number;
	INTERNAL: number;
	PERM: number;
	ABORT: number;
	BUSY: number;
	LOCKED: number;
	NOMEM: number;
	READONLY: number;
	INTERRUPT: number;
	IOERR: number;
	CORRUPT: number;
	NOTFOUND: number;
	FULL: number;
	CANTOPEN: number;
	PROTOCOL: number;
	EMPTY: number;
	SCHEMA: number;
	TOOBIG: number;
	CONSTRAINT: number;
	MISMATCH: number;
	MISUSE: number;
	NOLFS: number;
	AUTH: number;
	FORMAT: number;
	RANGE: number;
	NOTADB: number;
	LIMIT_LENGTH: number;
	LIMIT_SQL_LENGTH: number;
	LIMIT_COLUMN: number;
	LIMIT_EXPR_DEPTH: number;
	LIMIT_COMPOUND_SELECT: number;
	LIMIT_VDBE_OP: number;
	LIMIT_FUNCTION_ARG: number;
	LIMIT_ATTACHED: number;
	LIMIT_LIKE_PATTERN_LENGTH: number;
	LIMIT_VARIABLE_NUMBER: number;
	LIMIT_TRIGGER_DEPTH: number;
	LIMIT_WORKER_THREADS: number;
	cached: typeof cached;
	RunResult: RunResult;
	Statement: typeof Statement;
	Database: typeof Database;
	Backup: typeof Backup;
	verbose(): this;
}

/** Has errors tell where the method was called whose callback they are given to. */
export function verbose(): sqlite3;
