// The same for `import`: one module, whichever way it is loaded.
import sqlite from './index.js';

export default sqlite;
export const { Database, DatabaseSync, Statement, StatementSync, Session, constants, backup } = sqlite;
