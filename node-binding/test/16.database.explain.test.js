'use strict';
// explain(), which the original has since 13.
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { GENERATION, memory, filled, throws, throwsSqlite, BUSY, CLOSED } = require('./support');

if (GENERATION >= 13) describe('explain()', () => {
	it('returns the program of a statement', () => {
		const rows = memory('CREATE TABLE a (b)').explain('SELECT * FROM a');
		assert.deepEqual(Object.keys(rows[0]), ['addr', 'opcode', 'p1', 'p2', 'p3', 'p4', 'p5', 'comment']);
		assert.deepEqual([rows[0].addr, rows[0].opcode], [0, 'Init']);
	});

	it('returns the plan when asked for it', () => {
		const [row] = memory('CREATE TABLE a (b)').explain('QUERY PLAN SELECT * FROM a');
		assert.deepEqual(Object.keys(row), ['id', 'parent', 'notused', 'detail']);
		assert.equal(row.detail, 'SCAN a');
	});

	it('needs no values for parameters', () => {
		const db = memory('CREATE TABLE a (b)');
		assert.ok(db.explain('SELECT * FROM a WHERE b = ? AND b = @x').length > 0);
		assert.ok(db.explain('QUERY PLAN SELECT * FROM a WHERE b = :x').length > 0);
		throws(() => db.prepare('EXPLAIN SELECT ?').all(), RangeError, 'Too few parameter values were provided');
	});

	it('is told to "verbose" as it runs', () => {
		const told = [];
		memory('', { verbose: (sql) => told.push(sql) }).explain('SELECT ?');
		assert.deepEqual(told, ['EXPLAIN SELECT NULL']);
	});

	it('does not run the statement', () => {
		const db = memory('CREATE TABLE a (b)');
		assert.ok(db.explain('INSERT INTO a VALUES (1)').length > 0);
		assert.equal(db.prepare('SELECT count(*) FROM a').pluck().get(), 0);
	});

	it('returns bigints after defaultSafeIntegers()', () => {
		assert.equal(memory().defaultSafeIntegers().explain('SELECT 1')[0].addr, 0n);
	});

	for (const value of [undefined, null, 5, {}, ['SELECT 1']]) {
		it(`wants a string, not ${value === null ? 'null' : typeof value}${Array.isArray(value) ? ' []' : ''}`, () => throws(() => memory().explain(value), TypeError, 'Expected first argument to be a string'));
	}

	it('throws what is wrong with the statement', () => {
		throwsSqlite(() => memory().explain('SELECT * FROM nowhere'), 'SQLITE_ERROR', 'no such table: nowhere');
		throwsSqlite(() => memory().explain(''), 'SQLITE_ERROR', 'incomplete input');
		throws(() => memory().explain('SELECT 1; SELECT 2'), RangeError, 'The supplied SQL string contains more than one statement');
	});

	it('is allowed while an iterator is open, and refused inside a user function and when closed', () => {
		const db = filled(memory());
		const iterator = db.prepare('SELECT * FROM entries').iterate();
		assert.ok(db.explain('SELECT 1').length > 0);
		iterator.return();
		db.function('f', () => { db.explain('SELECT 1'); });
		throws(() => db.prepare('SELECT f()').get(), TypeError, BUSY);
		db.close();
		throws(() => db.explain('SELECT 1'), TypeError, CLOSED);
	});
});
