'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const path = require('node:path');
const { Database, freshPath } = require('./support');
const { LOOPBACK, founder, joinedTo, rowsBecome, startProgram, watchProcess } = require('./peers');

const SYNC = `
	const db = new Database(file);
	db.kith.open({ listen: 'loopback', mdns: false }).then((peer) => {
		peer.on('connected', ({ device }) => console.log('connected to ' + device));
		console.log('running');
		process.stdin.on('data', () => peer.close()).on('end', () => peer.close());
		peer.on('close', () => { process.stdin.destroy(); console.log('closed'); });
	});`;

describe('db.kith across processes', () => {
	it('what is written here shows there, also through a connection beside the peer', async () => {
		const desk = founder();
		const atDesk = await desk.kith.open(LOOPBACK);
		const phone = await joinedTo(desk);
		const program = startProgram(SYNC, phone.name);
		await program.line(/^connected to desk/);
		desk.prepare("INSERT INTO notes VALUES('1', 'of the desk')").run();
		await rowsBecome(phone, "SELECT count(*) AS n FROM sqlite_schema WHERE name = 'notes'", [{ n: 1 }]);
		await rowsBecome(phone, 'SELECT body FROM notes', [{ body: 'of the desk' }]);
		// No peer runs on this connection: the other process notices the commit.
		phone.prepare("INSERT INTO notes VALUES('2', 'of the phone')").run();
		await rowsBecome(desk, 'SELECT body FROM notes ORDER BY id', [{ body: 'of the desk' }, { body: 'of the phone' }]);
		program.child.stdin.end();
		assert.deepEqual(await program.ended(), { status: 0, signal: null });
		assert.match(program.output, /closed\n$/);
		await atDesk.close();
	});

	it('one that is killed goes on where it was, and both are equal in the end', async () => {
		const desk = founder();
		const atDesk = await desk.kith.open(LOOPBACK);
		const phone = await joinedTo(desk);
		const first = startProgram(SYNC, phone.name);
		await rowsBecome(phone, "SELECT count(*) AS n FROM sqlite_schema WHERE name = 'notes'", [{ n: 1 }]);
		// It dies in the middle of receiving.
		const insert = desk.prepare('INSERT INTO notes VALUES(?, ?)');
		desk.transaction(() => {
			for (let i = 0; i < 2000; ++i) insert.run(`d${i}`, 'of the desk');
		})();
		await rowsBecome(phone, "SELECT count(*) > 0 AS some FROM notes WHERE id LIKE 'd%'", [{ some: 1 }]);
		first.child.kill('SIGKILL');
		assert.equal((await first.ended()).signal, 'SIGKILL');
		insert.run('after', 'of the desk');
		const write = phone.prepare('INSERT INTO notes VALUES(?, ?)');
		for (let i = 0; i < 50; ++i) write.run(`p${i}`, 'of the phone');
		const second = startProgram(SYNC, phone.name);
		const count = 'SELECT count(*) AS n FROM notes';
		await rowsBecome(desk, count, [{ n: 2051 }]);
		await rowsBecome(phone, count, [{ n: 2051 }]);
		const all = 'SELECT * FROM notes ORDER BY id';
		assert.deepEqual(phone.prepare(all).all(), desk.prepare(all).all());
		second.child.stdin.end();
		assert.equal((await second.ended()).status, 0);
		await atDesk.close();
	});

	it('the example: two programs show each other\'s notes, and go on after one was killed', async () => {
		const example = path.join(__dirname, '..', 'examples', 'live-query', 'notes.js');
		const start = (...given) => watchProcess(spawn(process.execPath, [example, ...given, '--local'], { stdio: ['pipe', 'pipe', 'pipe'] }));
		const [deskFile, phoneFile] = [freshPath(), freshPath()];
		const desk = start(deskFile, '--name', 'desk');
		desk.child.stdin.write('buy milk\n/invite\n');
		await desk.line(/^notes: buy milk$/);
		const ticket = (await desk.line(/^ticket: kith1/)).slice('ticket: '.length);
		const phone = start(phoneFile, '--name', 'phone', '--join', ticket);
		await phone.line(/^notes: buy milk$/);
		phone.child.stdin.write('buy bread\n');
		await desk.line(/^notes: buy milk \| buy bread$/);

		phone.child.kill('SIGKILL');
		await desk.line(/^disconnected from phone/);
		await phone.ended();
		desk.child.stdin.write('call home\n');
		await desk.line(/^notes: buy milk \| buy bread \| call home$/);
		const alone = new Database(phoneFile);
		alone.exec("INSERT INTO notes VALUES('0', 'water the plants', '9999')");
		alone.close();
		const again = start(phoneFile);
		const all = /^notes: buy milk \| buy bread \| call home \| water the plants$/;
		await Promise.all([desk.line(all), again.line(all)]);
		for (const program of [desk, again]) program.child.stdin.write('/quit\n');
		for (const program of [desk, again]) assert.deepEqual(await program.ended(), { status: 0, signal: null }, program.errors);
		const rows = (file) => {
			const db = new Database(file);
			const found = db.prepare('SELECT * FROM notes ORDER BY id').all();
			db.close();
			return found;
		};
		assert.equal(rows(deskFile).length, 4);
		assert.deepEqual(rows(phoneFile), rows(deskFile));
	});
});
