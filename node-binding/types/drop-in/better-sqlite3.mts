// A program as it is written against @types/better-sqlite3. It compiles against those and against ours: only the package differs.
import Database from 'better-sqlite3';
import { SqliteError } from 'better-sqlite3';
import type { ColumnDefinition, Options, RunResult, Statement, Transaction } from 'better-sqlite3';

interface User {
	id: number;
	name: string;
}

const options: Options = { readonly: false, fileMustExist: true, timeout: 100, verbose: console.log };
const db: Database.Database = new Database('app.db', options);
const called: Database.Database = Database(':memory:');
const fromBytes = new Database(db.serialize({ attached: 'main' }), { readonly: true });

const insert = db.prepare('INSERT INTO users(name) VALUES(?)');
const info: RunResult = insert.run('ada');
const rowid: number | bigint = info.lastInsertRowid;
const byName: Statement<{ name: string }, User> = db.prepare<{ name: string }, User>('SELECT * FROM users WHERE name = @name');
const user: User | undefined = byName.get({ name: 'ada' });
const byId: Database.Statement<[number], User> = db.prepare<[number], User>('SELECT * FROM users WHERE id = ?');
const users: User[] = byId.all(1);
for (const { name } of byId.iterate(1)) console.log(name.toUpperCase());
const names = db.prepare('SELECT name FROM users').pluck().raw(false).expand(false).safeIntegers().all() as string[];
const columns: ColumnDefinition[] = byId.columns();
const anyStatement: Database.Statement = insert.bind('ada');
const { database, source, reader, readonly, busy } = anyStatement;

const add = db.transaction((name: string, times: number): number => {
	for (let i = 0; i < times; i += 1) insert.run(name);
	return times;
});
const added: number = add('ada', 2) + add.deferred('ada', 1) + add.immediate('ada', 1) + add.exclusive('ada', 1) + add.default('ada', 1);
const kept: Transaction<(name: string, times: number) => number> = add;
let anyTransaction: Database.Transaction;

db.pragma('journal_mode = WAL');
const version = db.pragma('user_version', { simple: true }) as number;
db.function('twice', (x: number) => x * 2).function('many', { varargs: true, deterministic: true }, (...x: number[]) => x.length);
const registration: Database.RegistrationOptions = { safeIntegers: true, directOnly: true };
db.function('bare', registration, () => null);
db.aggregate('total', { start: 0, step: (total: number, next: number) => total + next, inverse: (total: number, dropped: number) => total - dropped });
db.aggregate<number[]>('median', {
	start: () => [],
	step: (all, next) => { all.push(next); },
	result: (all) => all[all.length >> 1],
});
function* numbers(): Generator {
	yield [1];
}
db.table('numbers', { columns: ['n'], rows: numbers });
db.table('pairs', { columns: ['a', 'b'], parameters: ['from'], *rows(from: unknown) { yield { a: from, b: 1 }; } });

const copied: Promise<Database.BackupMetadata> = db.backup('copy.db', { progress: ({ totalPages, remainingPages }) => totalPages - remainingPages });
class Store extends Database {
	count(): number {
		return this.prepare<[], { n: number }>('SELECT count(*) AS n FROM users').get()?.n ?? 0;
	}
}
const count: number = new Store('app.db').count();

try {
	db.defaultSafeIntegers().unsafeMode(false).loadExtension('ext').exec('SELECT 1').close();
} catch (error) {
	if (error instanceof SqliteError && error.code === 'SQLITE_BUSY') console.log(error.message);
	if (error instanceof Database.SqliteError) throw new Database.SqliteError(error.message, error.code);
}
if (db.open && !db.inTransaction && !db.memory && !db.readonly) console.log(db.name);

// @ts-expect-error a statement's parameters are of the kinds that were said
byId.all('1');
// @ts-expect-error a row has the fields that were said
byId.get(1)?.nobody;
// @ts-expect-error a transaction takes what its function does
add(1, 2);
// @ts-expect-error there is no such option
new Database('app.db', { readOnly: true });
// @ts-expect-error a name is a text
db.pragma(1);
// @ts-expect-error the parameters of a transaction that is begun otherwise are the same
add.immediate('ada');

export { called, fromBytes, rowid, user, users, names, columns, database, source, reader, readonly, busy, added, kept, anyTransaction, version, copied, count };
