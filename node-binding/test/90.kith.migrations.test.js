'use strict';
// What migrations meet in a database with synced tables. Ours only.
const assert = require('node:assert/strict');
const { test } = require('node:test');
const Database = require('..');
const { freshPath, throws } = require('./support');

const { SqliteError } = Database;

const REMEDY = "schema changes of synced tables are not supported yet; call kith_unsync('notes') first "
	+ '(in this version the table cannot be synced again afterwards)';

function replica() {
	const db = new Database(freshPath());
	db.kith.init({ name: 'laptop' });
	db.exec('CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT); CREATE TABLE local(n)');
	db.kith.sync('notes');
	return db;
}

test('a synced table is neither altered nor dropped, and the error says why', () => {
	const db = replica();
	db.exec("INSERT INTO notes VALUES ('a', 'one')");
	for (const sql of [
		'ALTER TABLE notes ADD COLUMN done INTEGER', 'ALTER TABLE notes DROP COLUMN body', 'ALTER TABLE notes RENAME COLUMN body TO text',
		'ALTER TABLE notes RENAME TO entries',
	]) throws(() => db.exec(sql), SqliteError, `notes is synced and cannot be altered: ${REMEDY}`, 'SQLITE_AUTH');
	throws(() => db.prepare('DROP TABLE notes'), SqliteError, `notes is synced and cannot be dropped: ${REMEDY}`, 'SQLITE_AUTH');
	assert.deepEqual(db.prepare('SELECT * FROM notes').all(), [{ id: 'a', body: 'one' }]);
	db.close();
});

test('a migration that is refused is undone with all that it did', () => {
	const db = replica();
	const migrate = db.transaction(() => {
		db.exec('CREATE TABLE people(id TEXT PRIMARY KEY)');
		db.exec('ALTER TABLE notes ADD COLUMN person TEXT');
	});
	throws(migrate, SqliteError, /notes is synced and cannot be altered/, 'SQLITE_AUTH');
	assert.equal(db.inTransaction, false);
	assert.equal(db.prepare("SELECT count(*) FROM sqlite_schema WHERE name = 'people'").pluck().get(), 0);
	db.close();
});

test('new tables, indexes and views are made, and changes of other tables, in a transaction that also writes rows', () => {
	const db = replica();
	db.transaction(() => {
		db.exec('CREATE TABLE people(id TEXT PRIMARY KEY, name TEXT)');
		db.exec('CREATE INDEX notes_by_body ON notes(body)');
		db.exec('CREATE VIEW bodies AS SELECT body FROM notes');
		db.exec('ALTER TABLE local ADD COLUMN m');
		db.exec("INSERT INTO notes VALUES ('a', 'one')");
	})();
	assert.deepEqual(db.kith.sync('people').synced, ['people']);
	assert.deepEqual(db.prepare('SELECT * FROM bodies').pluck().all(), ['one']);
	db.close();
});

test('a star takes in the new tables, and leaves out those of migration tools and views, saying why', () => {
	const db = replica();
	db.exec('CREATE TABLE people(id TEXT PRIMARY KEY); CREATE TABLE knex_migrations(id INTEGER PRIMARY KEY, name); CREATE VIEW v AS SELECT 1');
	db.exec('CREATE TABLE __drizzle_migrations(id SERIAL PRIMARY KEY, hash TEXT); CREATE TABLE mikro_orm_migrations(id INTEGER PRIMARY KEY)');
	const { synced, already, skipped } = db.kith.sync('*');
	assert.deepEqual([synced, already], [['people'], ['notes']]);
	const reasons = Object.fromEntries(skipped.map(({ table, reason }) => [table, reason]));
	assert.deepEqual(Object.keys(reasons).sort(), ['__drizzle_migrations', 'knex_migrations', 'local', 'mikro_orm_migrations', 'v']);
	for (const table of ['__drizzle_migrations', 'knex_migrations', 'mikro_orm_migrations']) assert.match(reasons[table], /migration tool/);
	assert.match(reasons.local, /PRIMARY KEY/);
	assert.match(reasons.v, /is a view/);
	db.close();
});

test('a star takes in tables that are made later, too', () => {
	const db = replica();
	db.kith.sync('*');
	db.transaction(() => {
		db.exec('CREATE TABLE people_new(id TEXT PRIMARY KEY, name TEXT)');
		db.exec('ALTER TABLE people_new RENAME TO people');
		db.exec('CREATE TABLE log(line TEXT)');
	})();
	db.prepare('INSERT INTO people VALUES (?, ?)').run('a', 'ada');
	const states = Object.fromEntries(db.kith.status().tables.map(({ name, state }) => [name, state]));
	assert.deepEqual(states, { notes: 'synced', people: 'synced', local: 'left out', log: 'left out' });
	assert.equal(db.prepare('SELECT count(*) FROM kith__pending').pluck().get(), 1);
	db.kith.unsync('*');
	db.exec('CREATE TABLE later(id TEXT PRIMARY KEY)');
	assert.deepEqual(db.kith.sync('later').synced, ['later']);
	db.close();
});

test('tools that read the schema find a declared type for every column of the tables that a replica adds', () => {
	const db = replica();
	const columns = db.prepare(`
		SELECT t.name AS "table", c.name AS "column", c.type
		FROM sqlite_schema AS t, pragma_table_xinfo(t.name) AS c WHERE t.type = 'table' AND t.name GLOB 'kith_*'`).all();
	assert.ok(columns.length > 20);
	assert.deepEqual(columns.filter(({ type }) => type === ''), []);
	db.close();
});

test('statements that were prepared before a workspace is founded are closed, and can be prepared again', () => {
	const db = new Database(freshPath());
	db.exec('CREATE TABLE notes(id TEXT PRIMARY KEY)');
	const insert = db.prepare('INSERT INTO notes VALUES (?)');
	db.kith.init({ name: 'laptop' });
	throws(() => insert.run('a'), SqliteError, 'the database connection is not open', 'SQLITE_MISUSE');
	assert.equal(db.prepare(insert.source).run('a').changes, 1);
	db.close();
});
