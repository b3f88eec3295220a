'use strict';
// Tasks on the `sqlite` wrapper, whose driver is sqlite3, with its own migrations.

const fs = require('fs');
const path = require('path');
const sqlite3 = require('sqlite3');
const { open } = require('sqlite');

const FIRST = `-- Up
CREATE TABLE tasks(id INTEGER PRIMARY KEY, title TEXT NOT NULL UNIQUE, done INTEGER NOT NULL DEFAULT 0, weight REAL, file BLOB);
CREATE TABLE steps(task INTEGER NOT NULL REFERENCES tasks ON DELETE CASCADE, n INTEGER, body TEXT, PRIMARY KEY(task, n));
-- Down
DROP TABLE steps;
DROP TABLE tasks;
`;
const SECOND = `-- Up
CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT);
-- Down
DROP TABLE notes;
`;

module.exports = async function ({ file, say, fails, foundFile, syncBySql }) {
	foundFile();
	const migrationsPath = `${file}-migrations`;
	fs.mkdirSync(migrationsPath);
	fs.writeFileSync(path.join(migrationsPath, '001-first.sql'), FIRST);
	const db = await open({ filename: file, driver: sqlite3.cached.Database });
	await db.exec('PRAGMA foreign_keys = ON');
	await db.migrate({ migrationsPath });
	// Again from the start: down, then up.
	await db.migrate({ migrationsPath, force: true });
	say('migrated', await db.all('SELECT id, name FROM migrations'));
	await syncBySql((sql) => db.get(sql).then(({ value }) => value));

	say('run', await db.run('INSERT INTO tasks(title, weight) VALUES (?, ?)', 'first', 1.5).then(({ lastID, changes }) => [lastID, changes]));
	say('named', await db.run('INSERT INTO tasks(title, file) VALUES (:title, :file)', { ':title': 'second', ':file': Buffer.from([1, 0, 255]) }).then(({ lastID }) => lastID));
	const insert = await db.prepare('INSERT INTO tasks(title, weight) VALUES (?, ?)');
	for (let i = 3; i <= 30; i += 1) await insert.run(`task ${i}`, i % 3 ? i / 2 : null);
	await insert.finalize();
	await db.run('INSERT INTO steps SELECT id, weight, title FROM tasks WHERE weight IS NOT NULL');
	say('get', [await db.get('SELECT * FROM tasks WHERE id = ?', 2), await db.get('SELECT * FROM tasks WHERE id = 99')]);
	say('all', await db.all('SELECT t.id, s.body FROM tasks AS t JOIN steps AS s ON s.task = t.id WHERE t.weight > ? ORDER BY t.id', [13]));
	const each = [];
	say('each', [await db.each('SELECT id, weight FROM tasks WHERE id < ? ORDER BY id', 6, (error, row) => { each.push(row); }), each]);
	const select = await db.prepare('SELECT title FROM tasks WHERE id = @id', { '@id': 4 });
	say('statement', [await select.get(), await select.all({ '@id': 5 }), await select.get({ '@id': 99 })]);
	await select.finalize();
	say('updated', await db.run('UPDATE tasks SET done = 1 WHERE weight IS NULL').then(({ changes }) => changes));
	say('upserted', await db.all("INSERT INTO tasks(title) VALUES ('first') ON CONFLICT(title) DO UPDATE SET weight = weight + 1 RETURNING id, weight"));
	say('deleted', await db.run('DELETE FROM tasks WHERE weight > 14').then(({ changes }) => changes));
	say('cascaded', await db.get('SELECT count(*) AS n FROM steps'));

	await db.exec('BEGIN');
	await db.run("INSERT INTO tasks(title) VALUES ('kept')");
	await db.exec('SAVEPOINT inner; DELETE FROM tasks; ROLLBACK TO inner; RELEASE inner; COMMIT');
	await db.exec('BEGIN; DELETE FROM steps');
	await fails('in a transaction', () => db.run("INSERT INTO tasks(title) VALUES ('first')"));
	await db.exec('ROLLBACK');
	say('after transactions', [await db.get('SELECT count(*) AS n, max(title) AS last FROM tasks'), await db.get('SELECT count(*) AS n FROM steps')]);

	const errno = (action) => action().then(() => 'no error', ({ errno: number, code, message }) => [number, code, message]);
	say('errors', [
		await errno(() => db.run("INSERT INTO tasks(title) VALUES ('first')")),
		await errno(() => db.run('INSERT INTO tasks(id) VALUES (50)')),
		await errno(() => db.run('INSERT INTO steps VALUES (99, 1, NULL)')),
		await errno(() => db.get('SELECT * FROM nothing')),
		await errno(() => db.exec('CHOOSE 1')),
	]);
	say('columns', await db.all('PRAGMA table_xinfo(tasks)'));

	fs.writeFileSync(path.join(migrationsPath, '002-second.sql'), SECOND);
	await db.migrate({ migrationsPath });
	await syncBySql((sql) => db.get(sql).then(({ value }) => value));
	await db.run("INSERT INTO notes VALUES ('a', 'one')");
	say('notes', await db.all('SELECT * FROM notes'));
	await db.close();
};
