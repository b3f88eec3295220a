// A program as it is written against the types of node:sqlite. It compiles against those and against ours.
import sqlite from 'subject';
import { DatabaseSync, StatementSync, backup, constants } from 'subject';
import type {
	AggregateOptions, ApplyChangesetOptions, BackupOptions, BackupProgressInfo, CreateSessionOptions, DatabaseLimits, DatabaseSyncOptions,
	DeserializeOptions, FunctionOptions, PrepareOptions, SQLInputValue, SQLOutputValue, SQLTagStore, Session, StatementColumnMetadata,
	StatementResultingChanges,
} from 'subject';

const limits: Partial<DatabaseLimits> = { attach: 1 };
const options: DatabaseSyncOptions = { open: true, readOnly: false, timeout: 10, enableForeignKeyConstraints: true, limits, defensive: true };
const db = new DatabaseSync(new URL('file:///app.db'), options);
const again: sqlite.DatabaseSync = new sqlite.DatabaseSync(Buffer.from('app.db'));
const prepared: PrepareOptions = { readBigInts: true };
const statement: StatementSync = db.prepare('SELECT * FROM users WHERE id = ?', prepared);
const rows: Record<string, SQLOutputValue>[] = statement.all(1, 'a', null, 2n, new Uint8Array(1));
const row: Record<string, SQLOutputValue> | undefined = statement.get({ id: 1 }, 2);
const changes: StatementResultingChanges = statement.run();
const columns: StatementColumnMetadata[] = statement.columns();
for (const one of statement.iterate({ id: 1 })) console.log(one.name);
statement.setReadBigInts(true);
statement.setReturnArrays(false);
statement.setAllowBareNamedParameters(true);
statement.setAllowUnknownNamedParameters(true);
const text: string = statement.sourceSQL + statement.expandedSQL;
const called: FunctionOptions = { deterministic: true, directOnly: false, useBigIntArguments: false, varargs: true };
db.function('twice', called, (...values: SQLOutputValue[]): SQLInputValue => Number(values[0]) * 2);
db.function('one', () => 1);
const summed: AggregateOptions<number> = { start: 0, step: (total, ...values) => total + Number(values[0]), result: (total) => total };
db.aggregate('total', summed);
db.aggregate('longest', { start: () => '', step: (longest, value) => (String(value).length > String(longest).length ? String(value) : longest) });
const about: CreateSessionOptions = { table: 'users', db: 'main' };
const session: Session = db.createSession(about);
const resolved: ApplyChangesetOptions = { filter: (table) => table !== 'logs', onConflict: () => constants.SQLITE_CHANGESET_ABORT };
const isApplied: boolean = db.applyChangeset(session.changeset(), resolved) && db.applyChangeset(session.patchset());
session.close();
const store: SQLTagStore = db.createTagStore(10);
const found = store.get`SELECT * FROM users WHERE id = ${1}`;
for (const one of store.iterate`SELECT 1`) console.log(one);
const size: number = store.all`SELECT 1`.length + store.size + store.capacity + Number(store.run`DELETE FROM users`.changes);
store.clear();
db.setAuthorizer((action, table, column, database, within) => (table === column && database === within ? constants.SQLITE_DENY : action));
db.setAuthorizer(null);
const bytes = db.serialize('main');
const into: DeserializeOptions = { dbName: 'main' };
db.deserialize(bytes, into);
db.limits.attach = 2;
const told: BackupOptions = { rate: 1, source: 'main', target: 'main', progress: (info: BackupProgressInfo) => console.log(info.remainingPages) };
const pages: Promise<number> = backup(db, 'copy.db', told);
{
	using scoped = new DatabaseSync(':memory:');
	scoped.exec('SELECT 1');
}

// @ts-expect-error what is bound is something that SQLite can hold
statement.run(() => 1);
// @ts-expect-error statements are made by `prepare`
new StatementSync();
// @ts-expect-error an authorizer answers with a number
db.setAuthorizer(() => 'deny');

export { again, rows, row, changes, columns, text, isApplied, found, size, pages };
