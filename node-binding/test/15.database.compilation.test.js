'use strict';
// The build options that the original documents (docs/compilation.md), by what they do rather than by name.
// The version of SQLite itself is not checked: only that it is no older than a feature needs.
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { Database, freshPath, memory, throwsSqlite } = require('./support');

const one = (db, sql, ...parameters) => db.prepare(sql).pluck().get(...parameters);

describe('build: defaults of a new connection', () => {
	it('enforces foreign keys', () => {
		const db = memory('CREATE TABLE a (b PRIMARY KEY); CREATE TABLE c (d REFERENCES a(b))');
		assert.equal(db.pragma('foreign_keys', { simple: true }), 1);
		throwsSqlite(() => db.exec('INSERT INTO c VALUES (1)'), 'SQLITE_CONSTRAINT_FOREIGNKEY', 'FOREIGN KEY constraint failed');
	});

	it('refuses double-quoted strings in queries and in schemas', () => {
		throwsSqlite(() => memory().prepare('SELECT "text"'), 'SQLITE_ERROR', /^no such column: "?text"?/);
		throwsSqlite(() => memory('CREATE TABLE a (b CHECK (b <> "text"))'), 'SQLITE_ERROR', /^no such column: "?text"?/);
	});

	it('has a cache of 16000 KiB', () => {
		assert.equal(memory().pragma('cache_size', { simple: true }), -16000);
	});

	it('keeps the rollback journal for a file, and FULL synchronization', () => {
		const db = new Database(freshPath());
		assert.equal(db.pragma('journal_mode', { simple: true }), 'delete');
		assert.equal(db.pragma('synchronous', { simple: true }), 2);
		db.close();
	});

	it('synchronizes NORMAL in WAL mode', () => {
		const file = freshPath();
		const db = new Database(file);
		db.pragma('journal_mode = WAL');
		db.close();
		const again = new Database(file);
		assert.equal(again.pragma('journal_mode', { simple: true }), 'wal');
		again.exec('CREATE TABLE a (b)');
		assert.equal(again.pragma('synchronous', { simple: true }), 1);
		again.close();
	});

	it('uses UTF-8 and pages of 4096 bytes', () => {
		assert.equal(memory().pragma('encoding', { simple: true }), 'UTF-8');
		assert.equal(memory().pragma('page_size', { simple: true }), 4096);
	});

	it('is in defensive mode', () => {
		const db = memory('CREATE TABLE a (b)');
		db.pragma('writable_schema = ON');
		throwsSqlite(() => db.exec("UPDATE sqlite_master SET name = 'c' WHERE name = 'a'"), 'SQLITE_ERROR', 'table sqlite_master may not be modified');
	});

	it('runs triggers that call triggers only when told to be recursive', () => {
		assert.equal(memory().pragma('recursive_triggers', { simple: true }), 0);
	});
});

describe('build: features', () => {
	it('has FTS5 with ranking, highlighting and snippets', () => {
		const db = memory("CREATE VIRTUAL TABLE d USING fts5(body); INSERT INTO d VALUES ('the quick fox'), ('a slow dog'), ('quick quick')");
		assert.deepEqual(db.prepare("SELECT rowid FROM d WHERE d MATCH 'quick' ORDER BY bm25(d)").pluck().all(), [3, 1]);
		assert.equal(one(db, "SELECT highlight(d, 0, '<', '>') FROM d WHERE d MATCH 'fox'"), 'the quick <fox>');
	});

	it('has FTS3 and FTS4 with parentheses in queries', () => {
		const db = memory("CREATE VIRTUAL TABLE d USING fts4(body); INSERT INTO d VALUES ('one two'), ('one three'), ('four')");
		assert.deepEqual(db.prepare("SELECT rowid FROM d WHERE d MATCH 'one AND (two OR three)'").pluck().all(), [1, 2]);
		db.exec('CREATE VIRTUAL TABLE e USING fts3(body)');
	});

	it('has R-trees and geopoly', () => {
		const db = memory('CREATE VIRTUAL TABLE r USING rtree(id, x0, x1); INSERT INTO r VALUES (1, 0, 5), (2, 6, 9)');
		assert.deepEqual(db.prepare('SELECT id FROM r WHERE x1 >= 6').pluck().all(), [2]);
		assert.equal(one(db, "SELECT geopoly_area('[[0,0],[1,0],[1,1],[0,1],[0,0]]')"), 1);
	});

	it('has JSON functions and operators', () => {
		const db = memory();
		assert.equal(one(db, "SELECT json_extract('{\"a\":[1,2,{\"b\":3}]}', '$.a[2].b')"), 3);
		assert.equal(one(db, "SELECT '{\"a\":5}' ->> 'a'"), 5);
		assert.deepEqual(db.prepare("SELECT value FROM json_each('[1,2,3]')").pluck().all(), [1, 2, 3]);
		assert.equal(one(db, 'SELECT json_group_array(value) FROM json_each(?)', '["x","y"]'), '["x","y"]');
	});

	it('has mathematical functions, soundex and percentile', () => {
		const db = memory();
		assert.equal(one(db, 'SELECT sqrt(9) + ceil(1.5) + log2(8)'), 8);
		assert.equal(one(db, 'SELECT pi()'), Math.PI);
		assert.equal(one(db, "SELECT soundex('Robert')"), 'R163');
		assert.equal(one(db, 'SELECT median(value) FROM json_each(?)', '[1, 2, 9]'), 2);
		assert.equal(one(db, 'SELECT percentile(value, 50) FROM json_each(?)', '[1, 2, 9]'), 2);
	});

	it('has dbstat and STAT4', () => {
		const db = memory('CREATE TABLE a (b); CREATE INDEX i ON a (b); INSERT INTO a VALUES (1), (1), (2); ANALYZE');
		assert.ok(db.prepare('SELECT name FROM dbstat').pluck().all().includes('a'));
		assert.ok(one(db, 'SELECT count(*) FROM sqlite_stat4') > 0);
	});

	it('has window functions, CTEs, upserts, RETURNING, generated columns, STRICT tables and math in defaults', () => {
		const db = memory('CREATE TABLE a (k TEXT PRIMARY KEY, n INTEGER, twice INTEGER AS (n * 2)) STRICT');
		const upsert = db.prepare('INSERT INTO a (k, n) VALUES (?, 1) ON CONFLICT (k) DO UPDATE SET n = n + 1 RETURNING n, twice');
		assert.deepEqual(upsert.get('x'), { n: 1, twice: 2 });
		assert.deepEqual(upsert.get('x'), { n: 2, twice: 4 });
		throwsSqlite(() => db.exec("INSERT INTO a VALUES ('y', 'text')"), 'SQLITE_CONSTRAINT_DATATYPE', 'cannot store TEXT value in INTEGER column a.n');
		assert.deepEqual(db.prepare('WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c WHERE x < 4) SELECT sum(x) OVER (ORDER BY x) FROM c').pluck().all(), [1, 3, 6, 10]);
	});

	it('knows from columns() where each result column comes from', () => {
		const db = memory('CREATE TABLE a (b)');
		assert.equal(db.prepare('SELECT b AS z FROM a').columns()[0].column, 'b');
	});

	it('is as new as the features of 3.45', () => {
		const [major, minor] = one(memory(), 'SELECT sqlite_version()').split('.').map(Number);
		assert.ok(major === 3 && minor >= 45);
	});
});
