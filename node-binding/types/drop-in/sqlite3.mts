// A program as it is written against the types that node-sqlite3 brings. It compiles against those and against ours.
import sqlite3 from 'sqlite3';
import { Database, OPEN_CREATE, OPEN_READWRITE, cached, type RunResult, type Statement } from 'sqlite3';

interface User {
	id: number;
	name: string;
}

const { Database: Verbose } = sqlite3.verbose();
const db = new Database('app.db', OPEN_READWRITE | OPEN_CREATE, (error) => { if (error) throw error; });
const other: sqlite3.Database = new Verbose(':memory:');
db.serialize(() => {
	db.run('INSERT INTO users(name) VALUES(?)', ['ada'], function (this: RunResult, error: Error | null) {
		if (!error) console.log(this.lastID + this.changes);
	});
	db.get<User>('SELECT * FROM users WHERE id = $id', { $id: 1 }, (error, row) => console.log(error?.message, row.name));
	db.all<User>('SELECT * FROM users', (error, rows) => rows.map(({ name }) => name.length));
	db.each<User>('SELECT * FROM users', (error, row) => console.log(row.id), (error, count) => console.log(count.toFixed()));
	db.exec('SELECT 1', (error) => console.log(error)).run('SELECT 1');
});
const statement: Statement = db.prepare('SELECT * FROM users WHERE id = ?', 1);
statement.bind(1).get<User>((error, row) => console.log(row?.name)).all<User>(1, (error, rows) => rows.length).reset();
statement.each<User>([1], (error, row) => row.name, (error, count) => count).run(1, 2).finalize(() => db.close());
db.on('trace', (sql) => console.log(sql.length)).on('profile', (sql, milliseconds) => console.log(milliseconds.toFixed()));
db.on('change', (type, database, table, rowid) => console.log(type, database, table, rowid + 1)).on('open', () => {});
db.configure('busyTimeout', 100);
db.configure('limit', sqlite3.LIMIT_ATTACHED, 1);
db.parallelize(() => db.loadExtension('ext', (error) => console.log(error)).wait().interrupt());
cached.Database('app.db', (error) => console.log(error));
const code: number = sqlite3.CONSTRAINT + sqlite3.VERSION_NUMBER;

// @ts-expect-error an option is one of those that there are
db.configure('speed', 1);
// @ts-expect-error a row has the fields that were said
db.get<User>('SELECT 1', (error, row) => row.nobody);
// @ts-expect-error SQL is a text
db.run(1);

export { other, code };
