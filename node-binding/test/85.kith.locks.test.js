'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { Database, freshPath, runProgram } = require('./support');
const { LOOPBACK, founder } = require('./peers');

// Tells what another program is answered that wants to write at once.
function writeElsewhere(file) {
	const { stdout } = runProgram(`
		const db = new Database(file, { timeout: 0 });
		try { db.exec('BEGIN IMMEDIATE'); console.log('free'); } catch (error) { console.log(error.code); }`, { file });
	return stdout.trim();
}

// On Unix, whoever closes a file takes away all locks that the process has on it.
describe('the locks of a connection', () => {
	it('stay when another connection to the file is opened and closed', () => {
		const db = new Database(freshPath());
		db.exec('CREATE TABLE a (b); BEGIN IMMEDIATE; INSERT INTO a VALUES (1)');
		assert.equal(writeElsewhere(db.name), 'SQLITE_BUSY');
		new Database(db.name).close();
		assert.equal(writeElsewhere(db.name), 'SQLITE_BUSY');
		db.exec('COMMIT');
		assert.equal(writeElsewhere(db.name), 'free');
		db.close();
	});

	it('stay when a peer starts and ends', async () => {
		const db = founder();
		db.exec("BEGIN IMMEDIATE; INSERT INTO notes VALUES('1', 'a')");
		assert.equal(writeElsewhere(db.name), 'SQLITE_BUSY');
		const error = await db.kith.open(LOOPBACK).then((peer) => peer.close(), (error) => error);
		assert.ok(error === undefined || error instanceof Error);
		assert.equal(writeElsewhere(db.name), 'SQLITE_BUSY');
		db.exec('COMMIT');
		db.close();
	});

	it('keep the write-ahead log when other programs come and go', () => {
		const db = founder();
		new Database(db.name).close();
		// The last connection to a database removes its log: another program's is not the last.
		const insert = db.prepare('INSERT INTO notes VALUES(?, ?)');
		for (let i = 0; i < 5; ++i) {
			runProgram("new Database(file).prepare('SELECT count(*) FROM notes').get()", { file: db.name });
			insert.run(`${i}`, 'body');
		}
		const { stdout } = runProgram("console.log(new Database(file).prepare('SELECT count(*) FROM notes').pluck().get())", { file: db.name });
		assert.equal(stdout, '5\n');
		db.close();
	});
});
