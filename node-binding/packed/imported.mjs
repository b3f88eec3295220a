// As required.cjs, by import: the default and the named exports.
import assert from 'node:assert/strict';
import Database, { Database as Named, SqliteError } from 'kithdb';
import Alias, { SqliteError as AliasError } from 'better-sqlite3';

assert.equal(Named, Database);
assert.equal(Database.SqliteError, SqliteError);
assert.equal(Alias.SqliteError, AliasError);
assert.throws(() => new Database(':memory:').prepare('nonsense'), SqliteError);
assert.deepEqual(new Alias(':memory:').prepare('SELECT 1 AS one').get(), { one: 1 });
