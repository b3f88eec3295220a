// The main entry, in an ES module.
import Database, { Database as Named, SqliteError, type Kith, type KithStatus, type TableDefinition } from 'kithdb';

const db = new Database('app.db', { nativeBinding: null });
const same: typeof Database = Named;
const plan: { detail: string }[] = db.explain<{ detail: string }>('QUERY PLAN SELECT 1');
const text: string = db.prepare('SELECT 1').toString();
const copied: Promise<Database.BackupProgress> = db.backup('copy.db', { attached: 'main' });
const table: TableDefinition = { columns: ['n'], *rows() { yield [1]; } };
db.table('made', (first: string) => ({ ...table, columns: [first] }));
const error: SqliteError = new SqliteError('no', 'SQLITE_ERROR');
const code: string = error.code;
const kith: Kith = db.kith;
const status: KithStatus = kith.status();

// @ts-expect-error a code is needed
new SqliteError('no');
// @ts-expect-error what is open cannot be set
db.open = false;
// @ts-expect-error an explanation is of a text
db.explain(1);

export { same, plan, text, copied, code, status };
