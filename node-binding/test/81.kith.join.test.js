'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { Database, SqliteError, freshPath, rejects, throws } = require('./support');
const { LOOPBACK, NOTES, event, founder, joinedTo, rowsBecome } = require('./peers');

const ALL = 'SELECT id, body FROM notes ORDER BY id';

describe('db.kith.invite() and db.kith.join()', () => {
	it('two databases of one process converge, written through prepared statements and transactions', async () => {
		const desk = founder();
		desk.prepare('INSERT INTO notes VALUES(?, ?)').run('1', 'before');
		const atDesk = await desk.kith.open(LOOPBACK);
		const admitted = event(atDesk, 'admitted');
		const phone = await joinedTo(desk);
		assert.equal((await admitted).device, 'phone');
		assert.equal(phone.kith.isReplica, true);
		assert.equal(phone.open, true);
		// It knows the owner's address from joining.
		const atPhone = await phone.kith.open(LOOPBACK);
		const tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = 'notes'";
		await rowsBecome(phone, tables, [{ name: 'notes' }]);
		await rowsBecome(phone, ALL, [{ id: '1', body: 'before' }]);

		const write = (db, id) => db.transaction((body) => db.prepare('INSERT INTO notes VALUES(?, ?)').run(id, body));
		write(phone, '2')('of the phone');
		write(desk, '3').immediate('of the desk');
		throws(() => phone.transaction(() => {
			phone.prepare('DELETE FROM notes').run();
			throw new RangeError('rolled back');
		})(), RangeError, 'rolled back');
		const expected = [{ id: '1', body: 'before' }, { id: '2', body: 'of the phone' }, { id: '3', body: 'of the desk' }];
		await rowsBecome(desk, ALL, expected);
		await rowsBecome(phone, ALL, expected);

		phone.prepare('UPDATE notes SET body = ? WHERE id = ?').run('changed', '1');
		desk.prepare('DELETE FROM notes WHERE id = ?').run('3');
		const last = [{ id: '1', body: 'changed' }, { id: '2', body: 'of the phone' }];
		await rowsBecome(desk, ALL, last);
		await rowsBecome(phone, ALL, last);
		assert.deepEqual(phone.kith.members().map(({ device, role }) => [device, role]).sort(), [['desk', 'owner'], ['phone', 'writer']]);
		assert.equal(phone.kith.peers().length, 1);
		assert.deepEqual(phone.kith.conflicts(), []);
		const { sessions } = await atPhone.status();
		assert.deepEqual(sessions.map(({ device }) => device), ['desk']);
		assert.ok(sessions[0].sentBytes > 0 && sessions[0].receivedBytes > 0);
		await atPhone.close();
		await atDesk.close();
		phone.close();
		desk.close();
	});

	it('tells of sessions and of what is merged', async () => {
		const desk = founder();
		const atDesk = await desk.kith.open(LOOPBACK);
		const phone = await joinedTo(desk);
		const connected = event(atDesk, 'connected');
		const atPhone = await phone.kith.open(LOOPBACK);
		// The two compare what they hold at the beginning of each session.
		const inStep = event(atPhone, 'in-step');
		assert.equal((await connected).device, 'phone');
		await rowsBecome(phone, "SELECT count(*) AS n FROM sqlite_schema WHERE name = 'notes'", [{ n: 1 }]);
		const applied = event(atPhone, 'applied', ({ rows }) => rows.notes > 0);
		desk.prepare("INSERT INTO notes VALUES('1', 'a')").run();
		assert.deepEqual((await applied).rows, { notes: 1 });
		assert.equal((await inStep).device, 'desk');
		const disconnected = event(atDesk, 'disconnected');
		await atPhone.close();
		assert.equal((await disconnected).device, 'phone');
		await atDesk.close();
	});

	it('a file that has rows of its own joins if they may be merged', async () => {
		const desk = founder();
		desk.exec("INSERT INTO notes VALUES('1', 'of the desk'), ('2', 'of the desk')");
		const atDesk = await desk.kith.open(LOOPBACK);
		const ticket = await desk.kith.invite({ role: 'writer' });
		const phone = new Database(freshPath());
		phone.exec(`${NOTES}; INSERT INTO notes VALUES('2', 'of the phone'), ('3', 'of the phone')`);
		const error = await rejects(phone.kith.join(ticket, { name: 'phone', mdns: false }), Error, /has rows of its own \(notes\); join with the option "mergeByKey"/, 'KITH_TABLES_PRESENT');
		assert.doesNotMatch(error.message, /--/);
		assert.equal(phone.kith.isReplica, false);
		assert.equal(phone.prepare('SELECT count(*) FROM notes').pluck().get(), 2);
		await phone.kith.join(ticket, { name: 'phone', mdns: false, mergeByKey: true });
		const atPhone = await phone.kith.open(LOOPBACK);
		const ids = [{ id: '1' }, { id: '2' }, { id: '3' }];
		await rowsBecome(desk, 'SELECT id FROM notes ORDER BY id', ids);
		await rowsBecome(phone, 'SELECT id FROM notes ORDER BY id', ids);
		const body = 'SELECT body FROM notes WHERE id = 2';
		await rowsBecome(phone, body, desk.prepare(body).all());
		await atPhone.close();
		await atDesk.close();
	});

	it('tickets that do not hold are refused, and the database goes on as it was', async () => {
		const desk = founder();
		const atDesk = await desk.kith.open(LOOPBACK);
		const db = new Database(freshPath());
		db.exec('CREATE TABLE plain (a)');
		const options = { name: 'phone', mdns: false };
		await rejects(db.kith.join('kith1nonsense', options), TypeError, /ticket/);
		const ticket = await desk.kith.invite({ role: 'writer', expires: '1h' });
		await rejects(db.kith.join(ticket.slice(0, -8), options), TypeError, /ticket/);

		const brief = await desk.kith.invite({ role: 'writer', expires: 1 });
		const made = Date.now();
		while (Date.now() <= made + 1);
		await rejects(db.kith.join(brief, options), Error, /the ticket has expired/, 'KITH_TICKET_EXPIRED');

		const other = new Database(freshPath());
		await other.kith.join(ticket, { name: 'tablet', mdns: false });
		await rejects(db.kith.join(ticket, { ...options, timeoutMs: 5000 }), Error, /ticket/, 'KITH_REFUSED');
		assert.equal(db.open, true);
		assert.equal(db.kith.isReplica, false);
		db.exec('INSERT INTO plain VALUES (1)');

		// The file keeps its place, also in a program that is started again: another ticket lets it in.
		db.close();
		const again = new Database(db.name);
		assert.equal(again.kith.isReplica, false);
		again.exec('INSERT INTO plain VALUES (2)');
		await again.kith.join(await desk.kith.invite({ role: 'owner' }), options);
		assert.equal(again.kith.isReplica, true);
		assert.equal(again.prepare('SELECT count(*) FROM plain').pluck().get(), 2);
		assert.deepEqual(again.kith.members().filter(({ is_this_device: own }) => own).map(({ role }) => role), ['owner']);
		await atDesk.close();
	});

	it('one file joins once at a time', async () => {
		const desk = founder();
		const atDesk = await desk.kith.open(LOOPBACK);
		const tickets = [await desk.kith.invite({ role: 'writer' }), await desk.kith.invite({ role: 'writer' })];
		const file = freshPath();
		const [one, other] = [new Database(file), new Database(file)];
		const joins = [one, other].map((db, index) => db.kith.join(tickets[index], { name: 'phone', mdns: false }));
		const outcomes = await Promise.allSettled(joins);
		assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
		const { reason } = outcomes.find(({ status }) => status === 'rejected');
		assert.equal(reason.code, 'KITH_ALREADY_RUNNING');
		assert.match(reason.message, /another join of .* is running; wait until it has ended/);
		for (const db of [one, other]) db.close();
		assert.equal(new Database(file).kith.isReplica, true);
		await atDesk.close();
	});

	it('nobody to ask is told, with what was tried', async () => {
		const desk = founder();
		const ticket = await desk.kith.invite({ role: 'writer' });
		const db = new Database(freshPath());
		const statement = db.prepare('SELECT 1');
		const joining = db.kith.join(ticket, { name: 'phone', mdns: false, timeoutMs: 1 });
		assert.equal(db.open, false);
		throws(() => db.prepare('SELECT 1'), TypeError, 'The database connection is not open');
		await rejects(db.kith.join(ticket, { name: 'phone', mdns: false }), TypeError, 'The database connection is not open');
		await rejects(joining, Error, /no device of the workspace answered/, 'KITH_NOBODY_ANSWERED');
		assert.equal(db.open, true);
		throws(() => statement.get(), SqliteError, 'the database connection is not open');
		assert.equal(db.prepare('SELECT 1').pluck().get(), 1);
	});

	it('a database that is closed while it joins stays closed', async () => {
		const desk = founder();
		const ticket = await desk.kith.invite({ role: 'writer' });
		const db = new Database(freshPath());
		const joining = db.kith.join(ticket, { name: 'phone', mdns: false, timeoutMs: 1 });
		db.close();
		await rejects(joining, Error, /no device of the workspace answered/, 'KITH_NOBODY_ANSWERED');
		assert.equal(db.open, false);
	});

	it('databases that cannot join are refused, with the remedy', async () => {
		const desk = founder();
		const ticket = await desk.kith.invite({ role: 'writer' });
		const options = { name: 'phone', mdns: false, timeoutMs: 1 };
		await rejects(desk.kith.join(ticket, options), SqliteError, /already belongs to a workspace/, 'SQLITE_ERROR');
		await rejects(new Database(':memory:').kith.join(ticket, options), TypeError, /needs a database in a file/);
		const db = new Database(freshPath());
		db.exec('CREATE TABLE a (b); INSERT INTO a VALUES (1), (2)');
		const readonly = new Database(db.name, { readonly: true });
		await rejects(readonly.kith.join(ticket, options), TypeError, /open it without "readonly"/);
		db.exec('BEGIN');
		await rejects(db.kith.join(ticket, options), SqliteError, /a transaction is open/, 'SQLITE_ERROR');
		db.exec('COMMIT');
		const rows = db.prepare('SELECT b FROM a').iterate();
		rows.next();
		await rejects(db.kith.join(ticket, options), TypeError, 'This database connection is busy executing a query');
		rows.return();
		db.function('one', () => 1);
		await rejects(db.kith.join(ticket, options), SqliteError, /functions or extensions were added/, 'SQLITE_ERROR');
		assert.equal(db.prepare('SELECT one()').pluck().get(), 1);
	});

	it('options are checked, and those that are not there yet are refused by name', async () => {
		const desk = founder();
		await rejects(desk.kith.invite({ role: 'writer', tables: ['notes'] }), TypeError, 'db.kith.invite has no option "tables"; it has role, expires, addresses');
		await rejects(desk.kith.invite({ role: 'reader' }), TypeError, 'Expected the "role" option of db.kith.invite to be "writer" or "owner"');
		await rejects(desk.kith.invite({}), TypeError, 'Expected the "role" option of db.kith.invite to be "writer" or "owner"');
		for (const expires of ['soon', '1y', 0, -1, '0d', new Date(NaN), null, '99999d']) {
			await rejects(desk.kith.invite({ role: 'writer', expires }), TypeError, /^Expected the "expires" option/);
		}
		await rejects(desk.kith.invite({ role: 'writer', addresses: ['here'] }), TypeError, /^"here": /);
		const until = await desk.kith.invite({ role: 'writer', expires: new Date(Date.now() + 60_000) });
		assert.match(until, /^kith1/);
		const db = new Database(freshPath());
		await rejects(db.kith.join(until, { name: 'phone', lanes: {} }), TypeError, 'db.kith.join has no option "lanes"; it has name, peers, mdns, timeoutMs, mergeByKey');
		await rejects(db.kith.join(until, {}), TypeError, /^Expected the "name" option/);
		await rejects(db.kith.join(5, { name: 'phone' }), TypeError, 'Expected first argument to be a string');
		await rejects(db.kith.invite({ role: 'writer' }), TypeError, /belongs to no workspace yet/);
		throws(() => db.kith.members(), TypeError, /belongs to no workspace yet/);
	});

	it('a writer cannot invite', async () => {
		const desk = founder();
		const atDesk = await desk.kith.open(LOOPBACK);
		const phone = await joinedTo(desk);
		await rejects(phone.kith.invite({ role: 'writer' }), Error, /owner/, 'KITH_INVITE');
		await atDesk.close();
	});
});
