// Types of the face of node:sqlite, written by hand after the documentation of Node 26.

/// <reference types="node" />

import MainDatabase = require('../index');

/** What can be written. */
export type SQLInputValue = null | undefined | number | bigint | boolean | string | NodeJS.ArrayBufferView | ArrayBuffer | SharedArrayBuffer;
/** What is read. */
export type SQLOutputValue = null | number | bigint | string | Uint8Array;
export type NamedParameters = Record<string, SQLInputValue>;
export type Row = Record<string, SQLOutputValue>;

export interface DatabaseLimits {
	length: number;
	sqlLength: number;
	column: number;
	exprDepth: number;
	compoundSelect: number;
	vdbeOp: number;
	functionArg: number;
	attach: number;
	likePatternLength: number;
	variableNumber: number;
	triggerDepth: number;
}

interface StatementSettings {
	readBigInts?: boolean;
	returnArrays?: boolean;
	allowBareNamedParameters?: boolean;
	allowUnknownNamedParameters?: boolean;
}

export interface DatabaseSyncOptions extends StatementSettings {
	open?: boolean;
	readOnly?: boolean;
	enableForeignKeyConstraints?: boolean;
	enableDoubleQuotedStringLiterals?: boolean;
	allowExtension?: boolean;
	timeout?: number;
	defensive?: boolean;
	limits?: Partial<DatabaseLimits>;
}

export interface PrepareOptions extends StatementSettings {
	persistent?: boolean;
}

export interface FunctionOptions {
	deterministic?: boolean;
	directOnly?: boolean;
	useBigIntArguments?: boolean;
	varargs?: boolean;
}

export type SQLFunction = (...args: SQLOutputValue[]) => SQLInputValue;

export interface AggregateOptions<State extends SQLInputValue | object = SQLInputValue> extends FunctionOptions {
	start: State | (() => State);
	step: (state: State, ...args: SQLOutputValue[]) => State;
	result?: (state: State) => SQLInputValue;
	inverse?: (state: State, ...args: SQLOutputValue[]) => State;
}

export interface ModuleColumn {
	name: string;
	type: 'INTEGER' | 'TEXT' | 'REAL' | 'BLOB' | 'ANY';
	hidden?: boolean;
}

export interface ModuleOptions {
	columns: ModuleColumn[];
	rows: (...parameters: SQLOutputValue[]) => Iterable<SQLInputValue[]>;
	directOnly?: boolean;
	useBigIntArguments?: boolean;
}

export interface CreateSessionOptions {
	table?: string;
	db?: string;
}

export interface ApplyChangesetOptions {
	filter?: (table: string) => unknown;
	onConflict?: (kind: number) => number;
}

export type Authorizer = (
	actionCode: number,
	arg1: string | null,
	arg2: string | null,
	dbName: string | null,
	triggerOrView: string | null,
) => number;

export interface StatementColumn {
	column: string | null;
	database: string | null;
	name: string;
	table: string | null;
	type: string | null;
}

export interface StatementResult {
	changes: number | bigint;
	lastInsertRowid: number | bigint;
}

/** The names that @types/node has for them. */
export type StatementColumnMetadata = StatementColumn;
export type StatementResultingChanges = StatementResult;
export type BackupProgressInfo = Parameters<NonNullable<BackupOptions['progress']>>[0];
export interface DeserializeOptions {
	dbName?: string;
}

export interface StatementIterator extends IterableIterator<Row> {
	next(): IteratorResult<Row, null>;
	return(): IteratorResult<Row, null>;
}

export type StatementCounter =
	'fullscanStep' | 'sort' | 'autoindex' | 'vmStep' | 'reprepare' | 'run' | 'filterMiss' | 'filterHit' | 'memused';

/** The same as of the main face, but for what `init` and `join` return. */
export interface Kith extends Omit<MainDatabase.Kith, 'init' | 'join'> {
	/** Founds a workspace in the open database; statements prepared before are finalized. */
	init(options: { name: string }): Database;
	/** Joins a workspace with the open database, which goes on as a replica; statements prepared before are finalized. */
	join(...given: Parameters<MainDatabase.Kith['join']>): Promise<Database>;
}

export class Database {
	constructor(path: string | Uint8Array | URL, options?: DatabaseSyncOptions);

	readonly isOpen: boolean;
	readonly isTransaction: boolean;
	readonly limits: DatabaseLimits;

	/** What goes beyond the drop-in: sync. */
	readonly kith: Kith;

	open(): void;
	close(): void;
	exec(sql: string): void;
	prepare(sql: string, options?: PrepareOptions): Statement;
	createTagStore(maxSize?: number): SQLTagStore;
	location(dbName?: string): string | null;
	function(name: string, fn: SQLFunction): void;
	function(name: string, options: FunctionOptions, fn: SQLFunction): void;
	aggregate(name: string, options: AggregateOptions): void;
	aggregate<State extends SQLInputValue | object>(name: string, options: AggregateOptions<State>): void;
	createModule(name: string, options: ModuleOptions): void;
	createSession(options?: CreateSessionOptions): Session;
	applyChangeset(changeset: Uint8Array, options?: ApplyChangesetOptions): boolean;
	setAuthorizer(callback: Authorizer | null): void;
	enableDefensive(active: boolean): void;
	enableLoadExtension(allow: boolean): void;
	loadExtension(path: string, entryPoint?: string): void;
	serialize(dbName?: string): Uint8Array;
	deserialize(buffer: Uint8Array, options?: DeserializeOptions): void;
	[Symbol.dispose](): void;
}

export class Statement {
	private constructor();

	readonly sourceSQL: string;
	readonly expandedSQL: string;

	run(...parameters: SQLInputValue[]): StatementResult;
	run(named: NamedParameters, ...parameters: SQLInputValue[]): StatementResult;
	get(...parameters: SQLInputValue[]): Row | undefined;
	get(named: NamedParameters, ...parameters: SQLInputValue[]): Row | undefined;
	all(...parameters: SQLInputValue[]): Row[];
	all(named: NamedParameters, ...parameters: SQLInputValue[]): Row[];
	iterate(...parameters: SQLInputValue[]): StatementIterator;
	iterate(named: NamedParameters, ...parameters: SQLInputValue[]): StatementIterator;
	columns(): StatementColumn[];
	stat(counter: StatementCounter): number;
	resetStats(): void;
	setAllowBareNamedParameters(enabled: boolean): void;
	setAllowUnknownNamedParameters(enabled: boolean): void;
	setReadBigInts(enabled: boolean): void;
	setReturnArrays(enabled: boolean): void;
	close(): void;
	[Symbol.dispose](): void;
}

export class Session {
	private constructor();

	changeset(): Uint8Array;
	patchset(): Uint8Array;
	close(): void;
	[Symbol.dispose](): void;
}

export interface SQLTagStore {
	readonly capacity: number;
	readonly db: Database;
	readonly size: number;

	run(strings: readonly string[], ...values: SQLInputValue[]): StatementResult;
	get(strings: readonly string[], ...values: SQLInputValue[]): Row | undefined;
	all(strings: readonly string[], ...values: SQLInputValue[]): Row[];
	iterate(strings: readonly string[], ...values: SQLInputValue[]): StatementIterator;
	clear(): void;
}

/** The names that Node had for the classes before 26. */
export { Database as DatabaseSync, Statement as StatementSync };

export interface BackupOptions {
	source?: string;
	target?: string;
	rate?: number;
	progress?: (progress: { totalPages: number; remainingPages: number }) => void;
}

/** Copies a database to a file while it stays in use; fulfills with the number of pages. */
export function backup(sourceDb: Database, path: string | Uint8Array | URL, options?: BackupOptions): Promise<number>;

/** SQLite's numbers for changesets and authorizers. */
export const constants: {
	readonly SQLITE_CHANGESET_OMIT: number;
	readonly SQLITE_CHANGESET_REPLACE: number;
	readonly SQLITE_CHANGESET_ABORT: number;
	readonly SQLITE_CHANGESET_DATA: number;
	readonly SQLITE_CHANGESET_NOTFOUND: number;
	readonly SQLITE_CHANGESET_CONFLICT: number;
	readonly SQLITE_CHANGESET_CONSTRAINT: number;
	readonly SQLITE_CHANGESET_FOREIGN_KEY: number;
	readonly SQLITE_OK: number;
	readonly SQLITE_DENY: number;
	readonly SQLITE_IGNORE: number;
	readonly SQLITE_CREATE_INDEX: number;
	readonly SQLITE_CREATE_TABLE: number;
	readonly SQLITE_CREATE_TEMP_INDEX: number;
	readonly SQLITE_CREATE_TEMP_TABLE: number;
	readonly SQLITE_CREATE_TEMP_TRIGGER: number;
	readonly SQLITE_CREATE_TEMP_VIEW: number;
	readonly SQLITE_CREATE_TRIGGER: number;
	readonly SQLITE_CREATE_VIEW: number;
	readonly SQLITE_DELETE: number;
	readonly SQLITE_DROP_INDEX: number;
	readonly SQLITE_DROP_TABLE: number;
	readonly SQLITE_DROP_TEMP_INDEX: number;
	readonly SQLITE_DROP_TEMP_TABLE: number;
	readonly SQLITE_DROP_TEMP_TRIGGER: number;
	readonly SQLITE_DROP_TEMP_VIEW: number;
	readonly SQLITE_DROP_TRIGGER: number;
	readonly SQLITE_DROP_VIEW: number;
	readonly SQLITE_INSERT: number;
	readonly SQLITE_PRAGMA: number;
	readonly SQLITE_READ: number;
	readonly SQLITE_SELECT: number;
	readonly SQLITE_TRANSACTION: number;
	readonly SQLITE_UPDATE: number;
	readonly SQLITE_ATTACH: number;
	readonly SQLITE_DETACH: number;
	readonly SQLITE_ALTER_TABLE: number;
	readonly SQLITE_REINDEX: number;
	readonly SQLITE_ANALYZE: number;
	readonly SQLITE_CREATE_VTABLE: number;
	readonly SQLITE_DROP_VTABLE: number;
	readonly SQLITE_FUNCTION: number;
	readonly SQLITE_SAVEPOINT: number;
	readonly SQLITE_COPY: number;
	readonly SQLITE_RECURSIVE: number;
};
