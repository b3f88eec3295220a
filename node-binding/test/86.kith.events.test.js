'use strict';
// db.kith.on, once and off. Ours only.
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { Database, freshPath, runProgram, throws } = require('./support');
const { LOOPBACK, NOTES, founder, inTime, joinedTo, rowsBecome, startProgram } = require('./peers');

// Waits for an event of db.kith that is the one meant.
function heard(db, name, isIt = () => true) {
	const about = new Promise((resolve) => {
		db.kith.on(name, function listener(value) {
			if (!isIt(value)) return;
			db.kith.off(name, listener);
			resolve(value);
		});
	});
	return inTime(about, () => `the event ${name}`);
}

// Two devices of a workspace, with peers that run.
async function twoDevices() {
	const desk = founder();
	const atDesk = await desk.kith.open(LOOPBACK);
	const phone = await joinedTo(desk);
	const atPhone = await phone.kith.open(LOOPBACK);
	await rowsBecome(phone, "SELECT count(*) AS n FROM sqlite_schema WHERE name = 'notes'", [{ n: 1 }]);
	const close = async () => {
		await atPhone.close();
		await atDesk.close();
		phone.close();
		desk.close();
	};
	return { desk, phone, atDesk, atPhone, close };
}

describe('db.kith.on()', () => {
	it('tells of changes that are merged, whoever wrote them', async () => {
		const { desk, phone, close } = await twoDevices();
		const isNote = ({ table }) => table === 'notes';
		const [own, other] = [heard(desk, 'change', isNote), heard(phone, 'change', isNote)];
		desk.prepare("INSERT INTO notes VALUES('1', 'milk')").run();
		const cell = (change) => [change.table, change.device, change.isOwn, change.changes.map(({ writtenAt, ...rest }) => {
			assert.match(writtenAt, /^\d{4}-\d\d-\d\dT/);
			return rest;
		})];
		const written = [{ operation: 'insert', rowKey: "'1'", column: 'body', value: 'milk' }];
		assert.deepEqual(cell(await own), ['notes', 'desk', true, written]);
		assert.deepEqual(cell(await other), ['notes', 'desk', false, written]);
		assert.equal(phone.prepare('SELECT body FROM notes').pluck().get(), 'milk', 'told of once it is there');

		const gone = heard(desk, 'change', ({ isOwn }) => !isOwn);
		phone.prepare('DELETE FROM notes').run();
		assert.deepEqual(cell(await gone), ['notes', 'phone', false, [{ operation: 'delete', rowKey: "'1'", column: null, value: null }]]);
		await close();
	});

	it('tells of every entry once, of those from then on only', async () => {
		const { desk, phone, close } = await twoDevices();
		desk.prepare("INSERT INTO notes VALUES('0', 'before')").run();
		await rowsBecome(phone, 'SELECT id FROM notes', [{ id: '0' }]);
		const told = [];
		phone.kith.on('change', ({ changes }) => told.push(...changes.map(({ value }) => value)));
		const bodies = Array.from({ length: 20 }, (_, index) => `${index}`);
		const insert = desk.prepare('INSERT INTO notes VALUES(?, ?)');
		const last = heard(phone, 'change', ({ changes }) => changes.some(({ value }) => value === 'last'));
		for (const body of [...bodies.slice(1), 'last']) {
			insert.run(body, body);
			await new Promise(setImmediate);
		}
		await last;
		assert.deepEqual(told, [...bodies.slice(1), 'last']);
		await close();
	});

	it('tells whoever listens to one event at a time of every entry, too', async () => {
		const { desk, close } = await twoDevices();
		const told = [];
		let end;
		const last = new Promise((resolve) => {
			end = resolve;
		});
		const listener = ({ changes }) => {
			desk.kith.once('change', listener);
			told.push(...changes.map(({ value }) => value));
			if (told.includes('last')) end();
		};
		desk.kith.once('change', listener);
		const bodies = [...Array.from({ length: 60 }, (_, index) => `${index}`), 'last'];
		const insert = desk.prepare('INSERT INTO notes VALUES(?, ?)');
		for (const body of bodies) {
			insert.run(body, body);
			await new Promise((resolve) => setTimeout(resolve, 2));
		}
		await inTime(last, () => 'the last row');
		assert.deepEqual(told, bodies);
		await close();
	});

	it('tells of conflicts that were not there before', async () => {
		const desk = new Database(freshPath());
		desk.kith.init({ name: 'desk' });
		desk.exec('CREATE TABLE people(id TEXT PRIMARY KEY, mail TEXT UNIQUE)');
		desk.kith.sync('people');
		const first = await desk.kith.open(LOOPBACK);
		const phone = await joinedTo(desk);
		const peer = await phone.kith.open(LOOPBACK);
		await rowsBecome(phone, "SELECT count(*) AS n FROM sqlite_schema WHERE name = 'people'", [{ n: 1 }]);
		await peer.close();
		await first.close();
		desk.prepare("INSERT INTO people VALUES('1', 'a@b.example')").run();
		phone.prepare("INSERT INTO people VALUES('2', 'a@b.example')").run();
		const conflict = heard(phone, 'conflict');
		const peers = [await desk.kith.open(LOOPBACK), await phone.kith.open(LOOPBACK)];
		const { table_name: table, kind } = await conflict;
		assert.equal(table, 'people');
		assert.ok(phone.kith.conflicts().some((row) => row.table_name === 'people' && row.kind === kind));
		for (const peer of peers) await peer.close();
	});

	it('tells what its peers do, as their own listeners hear it', async () => {
		const desk = founder();
		const events = { peer: [], sync: [] };
		for (const name of ['peer', 'sync']) assert.equal(desk.kith.on(name, ({ event }) => events[name].push(event)), desk.kith);
		const listening = heard(desk, 'peer', ({ event }) => event === 'listening');
		const atDesk = await desk.kith.open(LOOPBACK);
		const { peerId, address } = await listening;
		assert.equal(peerId, atDesk.id);
		assert.ok(atDesk.addresses.includes(address));
		const connected = heard(desk, 'peer', ({ event }) => event === 'connected');
		const phone = await joinedTo(desk);
		const applied = heard(phone, 'sync', ({ event, rows }) => event === 'applied' && rows.notes === 1);
		const atPhone = await phone.kith.open(LOOPBACK);
		assert.equal((await connected).device, 'phone');
		desk.prepare("INSERT INTO notes VALUES('1', 'milk')").run();
		await applied;
		const closed = heard(desk, 'peer', ({ event }) => event === 'close');
		await atPhone.close();
		await atDesk.close();
		await closed;
		for (const name of ['admitted', 'connected', 'disconnected', 'close']) assert.ok(events.peer.includes(name), name);
		assert.ok(events.sync.includes('sealed'));
		assert.deepEqual(events.peer.filter((name) => events.sync.includes(name)), []);
	});

	it('takes listeners off, after one event or when it is told to', async () => {
		const { desk, close } = await twoDevices();
		const told = [];
		const often = ({ changes }) => told.push(['often', changes[0].value]);
		const never = () => told.push('never');
		assert.equal(desk.kith.once('change', ({ changes }) => told.push(['once', changes[0].value])), desk.kith);
		assert.equal(desk.kith.on('change', often).on('change', never).off('change', never), desk.kith);
		for (const body of ['a', 'b']) {
			const change = heard(desk, 'change', ({ changes }) => changes[0].value === body);
			desk.prepare('INSERT INTO notes VALUES(?, ?)').run(body, body);
			await change;
		}
		assert.deepEqual(told, [['once', 'a'], ['often', 'a'], ['often', 'b']]);
		await close();
	});

	it('begins to tell of changes when the database comes to belong to a workspace', async () => {
		const db = new Database(freshPath());
		db.exec(NOTES);
		const change = heard(db, 'change', ({ table }) => table === 'notes');
		db.kith.init({ name: 'desk' });
		db.kith.sync('notes');
		const peer = await db.kith.open(LOOPBACK);
		db.prepare("INSERT INTO notes VALUES('1', 'milk')").run();
		assert.equal((await change).changes[0].value, 'milk');
		await peer.close();
		db.close();
	});

	it('does not keep the program from ending', () => {
		const { status, stdout, stderr } = runProgram(`
			const db = new Database(file);
			db.kith.init({ name: 'desk' });
			for (const name of ['change', 'conflict', 'peer', 'sync']) db.kith.on(name, () => {});
			db.kith.open({ listen: 'loopback', mdns: false, keepAlive: false }).then(() => console.log('open'));
		`, { file: freshPath() });
		assert.deepEqual([status, stdout, stderr], [0, 'open\n', '']);
	});

	it('tells of changes that another process brings', async () => {
		const desk = founder();
		const file = desk.name;
		const change = heard(desk, 'change', ({ table }) => table === 'notes');
		const other = startProgram(`
			const db = new Database(file);
			db.kith.open({ listen: 'loopback', mdns: false }).then((peer) => {
				db.prepare("INSERT INTO notes VALUES('1', 'from there')").run();
				process.stdin.once('end', () => peer.close()).resume();
			});
		`, file);
		assert.equal((await change).changes[0].value, 'from there');
		other.child.stdin.end();
		await other.ended();
		desk.close();
	});

	it('refuses what it does not know, and databases that have no log', () => {
		const db = founder();
		for (const method of ['on', 'once', 'off']) {
			throws(() => db.kith[method]('news', () => {}), TypeError, `db.kith.${method} knows no event "news"; there are change, conflict, peer, sync`);
			throws(() => db.kith[method]('change'), TypeError, /takes an event and a function/);
		}
		throws(() => new Database(':memory:').kith.on('change', () => {}), TypeError, 'db.kith.on needs a database in a file; open it with a path');
		const reader = new Database(db.name, { readonly: true });
		throws(() => reader.kith.on('change', () => {}), TypeError, /was opened to be read, as plain SQLite; open it without "readonly"/);
	});
});
