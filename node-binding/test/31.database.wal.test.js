'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { Database, freshPath, throwsSqlite } = require('./support');

function wal(options) {
	const file = freshPath();
	const db = new Database(file, options);
	assert.equal(db.pragma('journal_mode = WAL', { simple: true }), 'wal');
	db.exec('CREATE TABLE a (b)');
	return { file, db };
}
const size = (file) => fs.statSync(file).size;
const count = (db) => db.prepare('SELECT count(*) FROM a').pluck().get();

describe('write-ahead log', () => {
	it('keeps changes beside the file until a checkpoint', () => {
		const { file, db } = wal();
		db.pragma('wal_checkpoint(TRUNCATE)');
		const before = size(file);
		const insert = db.prepare('INSERT INTO a VALUES (zeroblob(10000))');
		for (let i = 0; i < 10; ++i) insert.run();
		assert.equal(size(file), before);
		assert.ok(size(`${file}-wal`) > 100000);
		const result = db.pragma('wal_checkpoint(RESTART)')[0];
		assert.equal(result.busy, 0);
		assert.equal(result.log, result.checkpointed);
		assert.ok(size(file) > before + 100000);
		db.pragma('wal_checkpoint(TRUNCATE)');
		assert.equal(size(`${file}-wal`), 0);
		db.close();
	});

	it('lets readers read while another connection writes', () => {
		const { file, db } = wal();
		const reader = new Database(file, { timeout: 0 });
		db.exec('BEGIN IMMEDIATE; INSERT INTO a VALUES (1)');
		assert.equal(count(reader), 0);
		db.exec('COMMIT');
		assert.equal(count(reader), 1);
		db.close();
		reader.close();
	});

	it('shows a reader the state in which its transaction began', () => {
		const { file, db } = wal();
		const reader = new Database(file, { timeout: 0 });
		reader.exec('BEGIN');
		assert.equal(count(reader), 0);
		db.exec('INSERT INTO a VALUES (1)');
		assert.equal(count(reader), 0);
		throwsSqlite(() => reader.exec('INSERT INTO a VALUES (2)'), 'SQLITE_BUSY_SNAPSHOT', 'database is locked');
		reader.exec('COMMIT');
		assert.equal(count(reader), 1);
		db.close();
		reader.close();
	});

	it('cannot be restarted by a checkpoint under a reader', () => {
		const { file, db } = wal({ timeout: 0 });
		const reader = new Database(file);
		reader.exec('BEGIN; SELECT * FROM a');
		db.exec('INSERT INTO a VALUES (1)');
		assert.equal(db.pragma('wal_checkpoint(RESTART)', { simple: true }), 1);
		reader.exec('COMMIT');
		assert.equal(db.pragma('wal_checkpoint(RESTART)', { simple: true }), 0);
		db.close();
		reader.close();
	});

	it('cannot be checkpointed inside a transaction', () => {
		const { db } = wal();
		db.exec('BEGIN; INSERT INTO a VALUES (1)');
		throwsSqlite(() => db.pragma('wal_checkpoint'), 'SQLITE_LOCKED', 'database table is locked');
		db.exec('COMMIT');
		db.close();
	});

	it('allows one writer at a time', () => {
		const { file, db } = wal();
		const other = new Database(file, { timeout: 0 });
		db.exec('BEGIN IMMEDIATE');
		throwsSqlite(() => other.exec('INSERT INTO a VALUES (1)'), 'SQLITE_BUSY', 'database is locked');
		db.exec('ROLLBACK');
		other.exec('INSERT INTO a VALUES (1)');
		db.close();
		other.close();
	});

	it('is read by a readonly connection', () => {
		const { file, db } = wal();
		db.exec('INSERT INTO a VALUES (1)');
		const reader = new Database(file, { readonly: true });
		assert.equal(count(reader), 1);
		throwsSqlite(() => reader.exec('INSERT INTO a VALUES (2)'), 'SQLITE_READONLY', 'attempt to write a readonly database');
		reader.close();
		db.close();
	});

	it('is found again when the file is opened anew', () => {
		const { file, db } = wal();
		db.exec('INSERT INTO a VALUES (1)');
		const copy = freshPath();
		fs.copyFileSync(file, copy);
		fs.copyFileSync(`${file}-wal`, `${copy}-wal`);
		const recovered = new Database(copy);
		assert.equal(count(recovered), 1);
		recovered.close();
		db.close();
	});

	it('is not to be had for a database in memory', () => {
		assert.equal(new Database(':memory:').pragma('journal_mode = WAL', { simple: true }), 'memory');
	});

	it('can be left again', () => {
		const { file, db } = wal();
		db.exec('INSERT INTO a VALUES (1)');
		assert.equal(db.pragma('journal_mode = DELETE', { simple: true }), 'delete');
		assert.equal(fs.existsSync(`${file}-wal`), false);
		assert.equal(count(db), 1);
		db.close();
	});
});
