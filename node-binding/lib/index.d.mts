// The same for `import`.
import Database = require('./index.js');

export default Database;
export { Database };
export declare const SqliteError: typeof Database.SqliteError;
export type SqliteError = Database.SqliteError;
export type {
	DatabaseConstructor, Options, RunResult, ColumnDefinition, Statement, Transaction, PragmaOptions, SerializeOptions, BackupProgress,
	BackupMetadata, BackupOptions, FunctionOptions, RegistrationOptions, AggregateOptions, TableDefinition,
	KithStatus, KithMember, KithOpenOptions, KithInviteOptions, KithJoinOptions, KithWatchOptions, KithSession, KithPeerStatus,
	KithPeerEvents, KithPeer, KithWatchCallback, KithChange, KithCellChange, KithSyncName, KithToldOf, KithEvents, Kith,
	KithWhere, KithWhereValue, KithTextSearchOptions, KithTextHit, KithFuzzySearchOptions, KithFuzzyHit, KithHybridSearchOptions, KithHybridHit,
	KithEdgeTable, KithNodeTable, KithGraphDefinition, KithGraphId, KithGraphValue, KithGraphCondition, KithGraphOptions, KithWalkOptions, KithGraph,
} from './index.js';
