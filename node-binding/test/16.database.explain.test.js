'use strict';
// explain() and databases opened by file descriptor, which the original has since 13.
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { Database, GENERATION, freshPath, memory, filled, throws, throwsSqlite, BUSY, CLOSED } = require('./support');

const skip = GENERATION < 13 ? 'new in 13' : false;

describe('explain()', { skip }, () => {
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

describe('new Database(): file descriptors', { skip }, () => {
	function descriptors() {
		const [file, journal] = [freshPath(), freshPath('.journal')];
		fs.writeFileSync(file, '');
		fs.writeFileSync(journal, '');
		return { file, journal, fd: fs.openSync(file, 'r+'), journalFd: fs.openSync(journal, 'r+') };
	}

	for (const value of [-1, 1.5, NaN, Infinity, 2 ** 31]) {
		it(`refuses ${value}`, () => throws(() => new Database(value, { journalFd: 3 }), TypeError, 'Expected the file descriptor to be a non-negative 32-bit integer'));
	}
	for (const value of [-1, 1.5, 'x', null, 2 ** 31]) {
		it(`refuses ${JSON.stringify(value)} for "journalFd"`, () => throws(() => new Database(3, { journalFd: value }), TypeError, 'Expected the "journalFd" option to be a non-negative 32-bit integer'));
	}
	it('refuses "journalFd" with a file name', () => {
		throws(() => new Database(':memory:', { journalFd: 3 }), TypeError, 'The "journalFd" option can only be used when opening a database from a file descriptor');
	});

	it('work like a file, and stay open when the database is closed', () => {
		const { file, fd, journalFd } = descriptors();
		const db = new Database(fd, { journalFd });
		assert.deepEqual({ ...db }, { name: `fd:${fd}`, open: true, inTransaction: false, readonly: false, memory: false });
		filled(db);
		throws(() => db.transaction(() => { db.exec('DELETE FROM entries'); throw new Error('mine'); })(), Error, 'mine');
		assert.equal(db.prepare('SELECT count(*) FROM entries').pluck().get(), 3);
		db.close();
		assert.ok(fs.fstatSync(fd).size > 0);
		fs.closeSync(fd);
		fs.closeSync(journalFd);
		const again = new Database(file);
		assert.equal(again.prepare('SELECT count(*) FROM entries').pluck().get(), 3);
		again.close();
	});
});
