// The callback face, in an ES module, with what the original's types leave out.
import sqlite3, { Backup, Database, verbose } from 'kithdb/sqlite3';
import alias from '@kithdb/sqlite3';

const db = new sqlite3.Database('app.db');
const backup: Backup = db.backup('copy.db', (error) => console.log(error));
backup.retryErrors = [sqlite3.BUSY];
backup.step(-1, (error, isDone) => console.log(isDone)).finish();
const done: boolean = backup.completed || backup.failed || backup.idle;
const pages: number = backup.remaining + backup.pageCount;
const isOpen: boolean = db.open;
const name: string = db.filename;
const other: Database = new alias.Database(':memory:', alias.OPEN_READONLY);
verbose().cached.Database('app.db');

// @ts-expect-error a number of pages is a number
backup.step('all');
// @ts-expect-error there is no db.kith on this face
db.kith;

export { done, pages, isOpen, name, other };
