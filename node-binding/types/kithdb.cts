// The main entry, in a CommonJS module.
import Database = require('kithdb');

const db: Database = new Database('app.db');
const named: Database.Database = db;
const error: Database.SqliteError = new Database.SqliteError('no', 'SQLITE_ERROR');
const member: Database.KithMember | undefined = db.kith.members()[0];

// @ts-expect-error the module is the class itself
Database.default;
// @ts-expect-error a member's role is a text
member?.role.toFixed();

export = { named, error };
