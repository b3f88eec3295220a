// The same package in a CommonJS program.
import Database = require('better-sqlite3');

type Db = Database.Database;

function open(name: string): Db {
	return new Database(name, { timeout: 10 });
}
const row = open('app.db').prepare<[id: number], { name: string }>('SELECT name FROM users WHERE id = ?').get(1);
const name: string | undefined = row?.name;
const isUnique = (error: unknown): boolean => error instanceof Database.SqliteError && error.code.startsWith('SQLITE_CONSTRAINT');

// @ts-expect-error it has no such method
open('app.db').query('SELECT 1');

export = { name, isUnique };
