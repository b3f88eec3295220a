'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { memory, filled, throws, throwsSqlite, BUSY } = require('./support');

const column = (name, origin, table, database, type) => ({ name, column: origin, table, database, type });
const expression = (name) => column(name, null, null, null, null);

describe('columns()', () => {
	it('describes table columns by name, origin, table, database and declared type', () => {
		const db = memory('CREATE TABLE a (id INTEGER PRIMARY KEY, b varchar(20), c, "odd name" Decimal(10, 2) NOT NULL)');
		const columns = db.prepare('SELECT * FROM a').columns();
		assert.deepEqual(columns, [
			column('id', 'id', 'a', 'main', 'INTEGER'),
			column('b', 'b', 'a', 'main', 'varchar(20)'),
			column('c', 'c', 'a', 'main', null),
			column('odd name', 'odd name', 'a', 'main', 'Decimal(10, 2)'),
		]);
		assert.deepEqual(Object.keys(columns[0]), ['name', 'column', 'table', 'database', 'type']);
		assert.equal(Object.getPrototypeOf(columns[0]), Object.prototype);
	});

	it('tells an alias from its origin', () => {
		const db = memory('CREATE TABLE a (b TEXT)');
		assert.deepEqual(db.prepare('SELECT b AS x, z.b AS "y z" FROM a AS z').columns(), [column('x', 'b', 'a', 'main', 'TEXT'), column('y z', 'b', 'a', 'main', 'TEXT')]);
	});

	it('knows no origin of expressions', () => {
		const db = memory('CREATE TABLE a (b TEXT)');
		assert.deepEqual(db.prepare("SELECT b || 'x', count(*) AS n, 5, NULL AS empty, CAST(b AS INTEGER) AS i FROM a").columns(),
			[expression("b || 'x'"), expression('n'), expression('5'), expression('empty'), expression('i')]);
	});

	it('looks through views, subqueries and common table expressions', () => {
		const db = memory('CREATE TABLE a (b TEXT, c INT); CREATE VIEW v AS SELECT b AS vb, c + 1 AS vc FROM a');
		assert.deepEqual(db.prepare('SELECT * FROM v').columns(), [column('vb', 'b', 'a', 'main', 'TEXT'), expression('vc')]);
		assert.deepEqual(db.prepare('SELECT q FROM (SELECT b AS q FROM a)').columns(), [column('q', 'b', 'a', 'main', 'TEXT')]);
		assert.deepEqual(db.prepare('WITH w(z) AS (SELECT c FROM a) SELECT z FROM w').columns(), [column('z', 'c', 'a', 'main', 'INT')]);
	});

	it('names attached and temporary databases', () => {
		const db = memory("ATTACH ':memory:' AS other; CREATE TABLE other.a (b); CREATE TEMP TABLE c (d)");
		assert.deepEqual(db.prepare('SELECT b, d FROM a, c').columns(), [column('b', 'b', 'a', 'other', null), column('d', 'd', 'c', 'temp', null)]);
	});

	it('gives rowid the name of the column that it is an alias for', () => {
		const db = memory('CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE c (d)');
		assert.deepEqual(db.prepare('SELECT rowid FROM a').columns(), [column('id', 'id', 'a', 'main', 'INTEGER')]);
		assert.deepEqual(db.prepare('SELECT rowid FROM c').columns(), [column('rowid', 'rowid', 'c', 'main', 'INTEGER')]);
	});

	it('lists columns with one name each', () => {
		assert.deepEqual(memory().prepare('SELECT 1 AS a, 2 AS a').columns(), [expression('a'), expression('a')]);
	});

	it('describes RETURNING, EXPLAIN and pragmas', () => {
		const db = memory('CREATE TABLE a (b TEXT)');
		assert.deepEqual(db.prepare('DELETE FROM a RETURNING b, 1 AS one').columns().map((c) => c.name), ['b', 'one']);
		assert.equal(db.prepare('EXPLAIN SELECT 1').columns()[0].name, 'addr');
		assert.deepEqual(db.prepare('PRAGMA table_info(a)').columns().map((c) => c.name), ['cid', 'name', 'type', 'notnull', 'dflt_value', 'pk']);
	});

	it('needs no parameters and does not run the statement', () => {
		const db = memory('CREATE TABLE a (b)');
		assert.equal(db.prepare('INSERT INTO a VALUES (?) RETURNING b').columns().length, 1);
		assert.equal(db.prepare('SELECT count(*) FROM a').pluck().get(), 0);
	});

	it('does not depend on pluck, raw and expand', () => {
		const statement = memory().prepare('SELECT 1 AS a, 2 AS b');
		for (const method of ['pluck', 'raw', 'expand']) assert.deepEqual(statement[method]().columns(), [expression('a'), expression('b')]);
	});

	it('returns new objects every time', () => {
		const statement = memory().prepare('SELECT 1 AS a');
		const columns = statement.columns();
		columns[0].name = 'changed';
		assert.deepEqual(statement.columns(), [expression('a')]);
	});

	it('is allowed while the statement is iterated', () => {
		const statement = filled(memory()).prepare('SELECT i FROM entries');
		for (const row of statement.iterate()) {
			assert.ok(row);
			assert.equal(statement.columns()[0].column, 'i');
		}
	});

	it('is for statements that return data', () => {
		const db = memory('CREATE TABLE a (b)');
		for (const sql of ['INSERT INTO a VALUES (1)', 'BEGIN', 'CREATE TABLE c (d)']) {
			throws(() => db.prepare(sql).columns(), TypeError, 'The columns() method is only for statements that return data');
		}
	});

	it('is refused inside a user function', () => {
		const db = memory();
		const inner = db.prepare('SELECT 1');
		db.function('f', () => { inner.columns(); });
		throws(() => db.prepare('SELECT f()').get(), TypeError, BUSY);
	});

	it('has no errors of its own: those of a dropped table come when the statement runs', () => {
		const db = memory('CREATE TABLE a (b)');
		const statement = db.prepare('SELECT * FROM a');
		db.exec('DROP TABLE a');
		assert.equal(statement.columns()[0].name, 'b');
		throwsSqlite(() => statement.get(), 'SQLITE_ERROR', 'no such table: a');
	});
});
