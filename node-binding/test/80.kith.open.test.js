'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { Database, freshPath, rejects, throws } = require('./support');
const { LOOPBACK, event, founder } = require('./peers');

describe('db.kith.open()', () => {
	it('resolves to a peer that listens, tells how it stands and ends', async () => {
		const db = founder();
		const peer = await db.kith.open(LOOPBACK);
		assert.ok(peer.addresses.length > 0);
		for (const address of peer.addresses) assert.match(address, /^\/ip4\/127\.0\.0\.1\/(udp\/\d+\/quic-v1|tcp\/\d+)\/p2p\//);
		const status = await peer.status();
		assert.equal(status.peerId, peer.id);
		assert.deepEqual(status.sessions, []);
		for (const address of peer.addresses) assert.ok(status.addresses.includes(address));
		const closed = event(peer, 'close');
		await peer.close();
		await closed;
		await rejects(peer.status(), Error, 'the peer has stopped', 'KITH_STOPPED');
		await peer.close();
		db.close();
	});

	it('goes on where it was when it is started again', async () => {
		const db = founder();
		const first = await db.kith.open(LOOPBACK);
		const { id, addresses } = first;
		await first.close();
		const second = await db.kith.open(LOOPBACK);
		assert.equal(second.id, id);
		assert.ok(second.addresses.every((address) => addresses.includes(address)) || second.addresses.length > addresses.length);
		await second.close();
		db.close();
	});

	it('seals what the application commits, and the application reads and writes meanwhile', async () => {
		const db = founder();
		const peer = await db.kith.open({ ...LOOPBACK, listen: false });
		assert.deepEqual(peer.addresses, []);
		const sealed = event(peer, 'sealed', ({ transactions }) => transactions > 0);
		const insert = db.prepare('INSERT INTO notes VALUES(?, ?)');
		db.transaction(() => {
			for (let i = 0; i < 100; ++i) insert.run(`${i}`, 'body');
		})();
		await sealed;
		assert.equal(db.prepare('SELECT count(*) FROM notes').pluck().get(), 100);
		await peer.close();
		db.close();
	});

	it('names the port and the addresses it is given', async () => {
		const db = founder();
		const found = await db.kith.open(LOOPBACK);
		const [, port] = /\/(\d+)\//.exec(found.addresses[0].replace('/ip4/127.0.0.1', ''));
		await found.close();
		const peer = await db.kith.open({ ...LOOPBACK, listen: `/ip4/127.0.0.1/tcp/${port}` });
		assert.deepEqual(peer.addresses, [`/ip4/127.0.0.1/tcp/${port}/p2p/${peer.id}`]);
		await peer.close();
		await rejects(db.kith.open({ ...LOOPBACK, listen: ['nowhere'] }), TypeError, /^"nowhere": /);
		db.close();
	});

	it('is refused while another peer of the file runs', async () => {
		const db = founder();
		const peer = await db.kith.open(LOOPBACK);
		const again = new Database(db.name);
		await rejects(again.kith.open(LOOPBACK), Error, /another program syncs .* already/, 'KITH_ALREADY_RUNNING');
		await peer.close();
		const second = await again.kith.open(LOOPBACK);
		await second.close();
		again.close();
		db.close();
	});

	it('refuses what it does not know, by name', async () => {
		const db = founder();
		const known = 'listen, mdns, gossip, peers, dialPastPeers, reportAfterMs, busyTimeoutMs, keepAlive';
		await rejects(db.kith.open({ hub: 'https://example.org' }), TypeError, `db.kith.open has no option "hub"; it has ${known}`);
		await rejects(db.kith.open({ listen: 0 }), TypeError, /^Expected the "listen" option of db\.kith\.open to be a boolean, "loopback", a port/);
		await rejects(db.kith.open({ peers: 'one' }), TypeError, 'Expected the "peers" option of db.kith.open to be an array of strings');
		await rejects(db.kith.open({ ...LOOPBACK, peers: ['one'] }), TypeError, /^"one": /);
		await rejects(db.kith.open(true), TypeError, 'db.kith.open takes an options object');
		db.close();
		await rejects(db.kith.open(LOOPBACK), TypeError, 'The database connection is not open');
	});

	it('refuses to found a workspace with what it does not know, and names options as they are here', () => {
		const db = new Database(freshPath());
		throws(() => db.kith.init({ name: 'desk', hub: 1 }), TypeError, 'db.kith.init has no option "hub"; it has name');
		throws(() => db.kith.init({ name: '' }), Database.SqliteError, /^a device name has 1 to 64 bytes .* choose another with the option "name"$/, 'SQLITE_ERROR');
		assert.equal(db.kith.isReplica, false);
		db.close();
	});

	it('refuses databases that cannot sync, with the remedy', async () => {
		const memory = new Database(':memory:');
		memory.kith.init({ name: 'desk' });
		await rejects(memory.kith.open(LOOPBACK), TypeError, 'db.kith.open needs a database in a file; open it with a path');
		const plain = new Database(freshPath());
		plain.exec('CREATE TABLE a (b)');
		await rejects(plain.kith.open(LOOPBACK), TypeError, /belongs to no workspace yet; call db\.kith\.init\(\{ name \}\) or db\.kith\.join/);
		const db = founder();
		const readonly = new Database(db.name, { readonly: true });
		await rejects(readonly.kith.open(LOOPBACK), TypeError, 'db.kith.open needs a database that can be written to; open it without "readonly"');
		db.close();
		fs.chmodSync(db.name, 0o444);
		const locked = new Database(db.name);
		await rejects(locked.kith.open(LOOPBACK), Error, /is read-only, so nothing can be received/, 'KITH_READ_ONLY');
		await rejects(locked.kith.invite({ role: 'writer' }), Error, /is read-only; make it writable with `chmod u\+w/, 'KITH_INVITE');
	});

	it('tells of a database only what can be told', () => {
		const plain = new Database(':memory:');
		assert.equal(plain.kith.status().replica, false);
		const db = founder();
		const readonly = new Database(db.name, { readonly: true });
		const remedy = 'The database belongs to a workspace, but was opened to be read, as plain SQLite; open it without "readonly"';
		for (const method of ['status', 'members', 'conflicts']) throws(() => readonly.kith[method](), TypeError, remedy);
		assert.equal(db.kith.status().replica, true);
		db.close();
		for (const method of ['status', 'members', 'conflicts']) throws(() => db.kith[method](), TypeError, 'The database connection is not open');
	});

	it('tells when nobody was found', async () => {
		const db = founder();
		const peer = await db.kith.open({ ...LOOPBACK, peers: ['/ip4/127.0.0.1/tcp/9'], reportAfterMs: 1 });
		const { tried, mdns } = await event(peer, 'no-peer-yet');
		assert.equal(mdns, false);
		assert.deepEqual(tried.map(({ address }) => address), ['/ip4/127.0.0.1/tcp/9']);
		await peer.close();
		db.close();
	});
});
