// db.kith.
import Database, { type KithPeer, type KithPeerStatus } from 'kithdb';

interface Note {
	id: string;
	body: string;
}

const db = new Database('notes.db');
const founded: Database.Database = db.kith.init({ name: 'laptop' });
db.kith.sync('notes');
db.kith.unsync('notes');
const conflicts: Record<string, unknown>[] = db.kith.conflicts();
const isReplica: boolean = db.kith.isReplica && db.kith.status().replica;
const peer: KithPeer = await db.kith.open({ listen: 4700, mdns: false, peers: ['/ip4/127.0.0.1/udp/4700/quic-v1'], keepAlive: false });
peer.on('connected', ({ device, session }) => console.log(device.length, session.toFixed())).once('close', () => {});
peer.on('error', ({ code, message }) => console.log(code === 'KITH_STOPPED', message));
const { sessions }: KithPeerStatus = await peer.status();
await peer.close();
const ticket: string = await db.kith.invite({ role: 'writer', expires: '1d' });
const joined: Database.Database = await new Database('other.db').kith.join(ticket, { name: 'phone', mergeByKey: true });
const stop: () => void = db.kith.watch<Note>('SELECT * FROM notes WHERE id = ?', ['a'], (rows, error) => {
	console.log(rows?.map(({ body }) => body), error?.message);
}, { keepAlive: false });
db.kith.watch<Note>('SELECT * FROM notes', (rows) => rows?.length);

db.kith.on('change', ({ table, device, changes }) => console.log(table.length, device?.length, changes[0].rowKey.length));
db.kith.once('conflict', ({ kind }) => console.log(kind)).on('sync', (about) => {
	if (about.event === 'applied') console.log(about.rows.notes.toFixed(), about.peerId.length);
});
const heard = (about: { event: string }): void => console.log(about.event);
db.kith.on('peer', heard).off('peer', heard);
db.kith.on('peer', (about) => {
	if (about.event === 'connected') console.log(about.device.length);
	// @ts-expect-error what is merged is told by the event sync
	if (about.event === 'applied') console.log(about);
});
// @ts-expect-error there is no such event
db.kith.on('news', () => {});

// @ts-expect-error a device has a name
db.kith.init({});
// @ts-expect-error a role is one of two
db.kith.invite({ role: 'reader' });
// @ts-expect-error rows are undefined where the query has failed
db.kith.watch<Note>('SELECT * FROM notes', (rows) => rows.length);
// @ts-expect-error there is no such event
peer.on('news', () => {});
// @ts-expect-error there is no such option
db.kith.open({ port: 4700 });

export { founded, conflicts, isReplica, sessions, joined, stop };
