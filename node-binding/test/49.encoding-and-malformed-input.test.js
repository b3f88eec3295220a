'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { Database, freshPath, memory, filled, throwsSqlite } = require('./support');

const one = (db, sql, ...parameters) => db.prepare(sql).pluck().get(...parameters);

describe('databases in UTF-16', () => {
	for (const encoding of ['UTF-16le', 'UTF-16be', 'UTF-16', 'UTF-8']) {
		it(`work in ${encoding}`, () => {
			const file = freshPath();
			const db = new Database(file);
			db.pragma(`encoding = '${encoding}'`);
			db.exec("CREATE TABLE \"größe\" (\"名\" TEXT UNIQUE, n); INSERT INTO \"größe\" VALUES ('x🗝y', 1)");
			db.prepare('INSERT INTO "größe" VALUES (?, ?)').run('é\0ü', 2n);
			db.function('echo', (x) => `${x}!`);
			assert.deepEqual(db.prepare('SELECT "名", echo("名") AS e FROM "größe" ORDER BY n').all(), [{ 名: 'x🗝y', e: 'x🗝y!' }, { 名: 'é\0ü', e: 'é\0ü!' }]);
			assert.equal(one(db, 'SELECT n FROM "größe" WHERE "名" = ?', 'x🗝y'), 1);
			throwsSqlite(() => db.exec("INSERT INTO \"größe\" VALUES ('x🗝y', 3)"), 'SQLITE_CONSTRAINT_UNIQUE', 'UNIQUE constraint failed: größe.名');
			db.close();
			const again = new Database(file);
			assert.ok(again.pragma('encoding', { simple: true }).startsWith(encoding));
			assert.equal(again.prepare('SELECT * FROM "größe"').columns()[0].name, '名');
			again.close();
		});
	}
});

describe('text that is no UTF-8', () => {
	for (const [hex, text] of [['61ff62', 'a\ufffdb'], ['c3', '\ufffd'], ['f09f97', '\ufffd'], ['80', '\ufffd'], ['eda0bd', '\ufffd\ufffd\ufffd'], ['f8888080', '\ufffd\ufffd\ufffd\ufffd'], ['c080', '\ufffd\ufffd']]) {
		it(`x'${hex}' comes back with U+FFFD in it`, () => {
			const db = memory();
			assert.equal(one(db, `SELECT CAST(x'${hex}' AS TEXT)`), text);
			let seen;
			db.function('see', (x) => { seen = x; });
			db.exec(`SELECT see(CAST(x'${hex}' AS TEXT))`);
			assert.equal(seen, text);
		});
	}

	it('keeps its bytes in the database', () => {
		const db = memory("CREATE TABLE a (b TEXT); INSERT INTO a VALUES (CAST(x'61ff62' AS TEXT))");
		assert.deepEqual(db.prepare('SELECT b FROM a').pluck().all(), ['a\ufffdb']);
		assert.equal(one(db, 'SELECT hex(b) FROM a'), '61FF62');
	});
});

describe('SQL with odd characters', () => {
	it('ends at a NUL', () => {
		assert.deepEqual(memory().prepare('SELECT 1 AS a\0, 2 AS b').get(), { a: 1 });
		throwsSqlite(() => memory().prepare("SELECT 'a\0b'"), 'SQLITE_ERROR', 'unrecognized token: "\'a"');
		const db = memory();
		db.exec('CREATE TABLE a (b);\0CREATE TABLE c (d)');
		assert.deepEqual(db.prepare('SELECT name FROM sqlite_master').pluck().all(), ['a']);
	});

	it('keeps the NUL in the source of the statement', () => {
		assert.equal(memory().prepare('SELECT 1 AS a\0, 2 AS b').source, 'SELECT 1 AS a\0, 2 AS b');
	});

	it('may begin with a byte order mark', () => {
		assert.deepEqual(memory().prepare('\ufeffSELECT 1 AS a').get(), { a: 1 });
	});

	it('may hold lone surrogates, which become U+FFFD', () => {
		assert.match(one(memory(), "SELECT 'a\ud83db'"), /^a\ufffd{1,3}b$/);
	});

	it('may have any white space', () => {
		assert.deepEqual(memory().prepare('\t\r\n\f SELECT\n1\tAS\r\na ;\n').get(), { a: 1 });
	});

	it('may be nested as deep as SQLite goes, and no deeper', () => {
		const nest = (depth) => `SELECT ${'('.repeat(depth)}1${')'.repeat(depth)}`;
		assert.equal(one(memory(), nest(50)), 1);
		throwsSqlite(() => memory().prepare(nest(100000)), 'SQLITE_ERROR', /^(parser stack overflow|Recursion limit|Expression tree is too large)/);
	});

	it('may join 64 tables and no more', () => {
		const db = memory('CREATE TABLE a (b); INSERT INTO a VALUES (1)');
		const join = (count) => `SELECT count(*) FROM ${Array.from({ length: count }, (_, i) => `a AS a${i}`).join()}`;
		assert.equal(one(db, join(64)), 1);
		throwsSqlite(() => db.prepare(join(65)), 'SQLITE_ERROR', 'at most 64 tables in a join');
	});
});

describe('damaged files', () => {
	const whole = filled(memory(), 300).exec('CREATE INDEX k ON entries (t)').serialize();
	function damaged(change) {
		const file = freshPath();
		const bytes = Buffer.from(whole);
		fs.writeFileSync(file, change(bytes) || bytes);
		return new Database(file);
	}
	const readAll = (db) => { db.prepare('SELECT * FROM entries').all(); db.prepare('SELECT t FROM entries ORDER BY t').all(); };

	it('with another header are no database', () => {
		const db = damaged((bytes) => { bytes.write('XXXX', 0); });
		throwsSqlite(() => readAll(db), 'SQLITE_NOTADB', 'file is not a database');
		db.close();
	});

	it('with pages of noise are malformed', () => {
		const db = damaged((bytes) => { bytes.fill(0xa5, 4096); });
		throwsSqlite(() => readAll(db), /^SQLITE_CORRUPT/, 'database disk image is malformed');
		db.close();
	});

	it('that are cut short are malformed', () => {
		const db = damaged((bytes) => bytes.subarray(0, 4096 * 2));
		throwsSqlite(() => readAll(db), /^SQLITE_CORRUPT/, 'database disk image is malformed');
		db.close();
	});

	it('do not crash anything, wherever a byte is wrong', () => {
		for (let at = 16; at < 4096 * 3; at += 611) {
			const db = damaged((bytes) => { bytes[at] ^= 0xff; });
			try {
				db.pragma('synchronous = OFF');
				readAll(db);
				db.exec("INSERT INTO entries (t) VALUES ('more')");
				db.pragma('integrity_check');
			} catch (error) {
				assert.equal(error.name, 'SqliteError', String(error));
				assert.match(error.code, /^SQLITE_(CORRUPT|NOTADB|ERROR|CANTOPEN|READONLY|IOERR|FULL|CONSTRAINT)/);
			}
			db.close();
		}
	});

	it('are reported by integrity_check', () => {
		const db = damaged((bytes) => { bytes.fill(0, bytes.length - 4096); });
		let report;
		try { report = db.pragma('integrity_check').map((row) => row.integrity_check).join('\n'); } catch (error) { report = error.code; }
		assert.notEqual(report, 'ok');
		db.close();
	});
});

describe('schemas that do not load', () => {
	it('are reported when the database is used', () => {
		const db = memory('CREATE TABLE a (b)').unsafeMode();
		db.pragma('writable_schema = ON');
		db.exec("UPDATE sqlite_master SET sql = 'CREATE TABLE nonsense' WHERE name = 'a'");
		const copy = new Database(db.serialize());
		throwsSqlite(() => copy.prepare('SELECT * FROM a'), /^SQLITE_(CORRUPT|ERROR)/, /^malformed database schema \(a\)/);
		copy.close();
	});

	it('may name functions that only the program has: the error comes when they are called for', () => {
		const file = freshPath();
		const db = new Database(file);
		db.function('mine', { deterministic: true }, (x) => x);
		db.exec('CREATE TABLE a (b CHECK (mine(b) > 0)); CREATE VIEW v AS SELECT mine(1) AS x; INSERT INTO a VALUES (1)');
		db.close();
		const other = new Database(file);
		assert.deepEqual(other.prepare('SELECT * FROM a').all(), [{ b: 1 }]);
		throwsSqlite(() => other.prepare('SELECT * FROM v'), 'SQLITE_ERROR', 'no such function: mine');
		throwsSqlite(() => other.exec('INSERT INTO a VALUES (2)'), 'SQLITE_ERROR', /no such function: mine|unknown function: mine\(\)/);
		other.close();
	});

	it('may name modules that only the program has: the error comes when they are used', () => {
		const file = freshPath();
		const db = new Database(file);
		db.table('mine', () => ({ columns: ['a'], *rows() { yield [1]; } }));
		db.exec('CREATE VIRTUAL TABLE t USING mine');
		db.close();
		const other = new Database(file);
		throwsSqlite(() => other.prepare('SELECT * FROM t'), 'SQLITE_ERROR', 'no such module: mine');
		other.table('mine', () => ({ columns: ['a'], *rows() { yield [2]; } }));
		assert.deepEqual(other.prepare('SELECT * FROM t').all(), [{ a: 2 }]);
		other.close();
	});
});
