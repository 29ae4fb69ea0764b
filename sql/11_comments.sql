-- What \d+ and \df+ say.
COMMENT ON TABLE raw.qb_config IS 'Connections to QuickBooks Online with their secrets; readable by its owner only, never dumped.';
COMMENT ON COLUMN raw.qb_config.connection IS 'Name of the connection, as given to qb_backfill.';
COMMENT ON COLUMN raw.qb_config.connection_id IS 'Key of the advisory locks: a worker that owns the connection holds (1902276353, connection_id).';
COMMENT ON COLUMN raw.qb_config.realm_id IS 'Company id of QuickBooks Online.';
COMMENT ON COLUMN raw.qb_config.environment IS 'production or sandbox: decides which host of Intuit is called.';
COMMENT ON COLUMN raw.qb_config.client_id IS 'Client id of the Intuit app.';
COMMENT ON COLUMN raw.qb_config.client_secret IS 'Secret: client secret of the Intuit app.';
COMMENT ON COLUMN raw.qb_config.refresh_token IS 'Secret: newest refresh token; Intuit replaces it about once a day.';
COMMENT ON COLUMN raw.qb_config.refresh_expires_at IS 'When the refresh token ends if it is not used.';
COMMENT ON COLUMN raw.qb_config.refresh_hard_expires_at IS 'When the authorization ends in any case (Intuit: five years).';
COMMENT ON COLUMN raw.qb_config.access_token IS 'Secret: access token of one hour.';
COMMENT ON COLUMN raw.qb_config.access_expires_at IS 'When the access token ends.';
COMMENT ON COLUMN raw.qb_config.token_generation IS 'Counts the tokens; an answer for an older generation is dropped.';
COMMENT ON COLUMN raw.qb_config.auth_state IS 'ok, refreshing, needs_reauth (authorize the company, again) or bad_client (wrong client id or secret).';
COMMENT ON COLUMN raw.qb_config.refresh_started_at IS 'When the refresh now under way announced itself.';
COMMENT ON COLUMN raw.qb_config.refreshed_at IS 'When the newest tokens were stored.';
COMMENT ON COLUMN raw.qb_config.last_error IS 'What Intuit last said against the credentials.';
COMMENT ON COLUMN raw.qb_config.last_intuit_tid IS 'Transaction id of that answer, for Intuit''s support.';
COMMENT ON COLUMN raw.qb_config.target_schema IS 'Schema of the data, report and reject tables of the connection.';
COMMENT ON COLUMN raw.qb_config.page_size IS 'Upper bound of the page size for this company, 1 to 1000.';
COMMENT ON COLUMN raw.qb_config.monthly_budget IS 'Requests a month that may be spent, UTC; NULL = no limit. Intuit''s free tier has 500000 reads a month for an app.';
COMMENT ON COLUMN raw.qb_config.consent_state IS 'SHA-256 of the state of the consent under way.';
COMMENT ON COLUMN raw.qb_config.consent_redirect_uri IS 'Redirect URI of the consent under way.';
COMMENT ON COLUMN raw.qb_config.consent_expires_at IS 'Until when the consent under way can be completed.';
COMMENT ON COLUMN raw.qb_config.responsible IS 'Who looks after these credentials; shown in qb_secrets.';
COMMENT ON COLUMN raw.qb_config.created_at IS 'When the connection was set up.';
COMMENT ON COLUMN raw.qb_config.updated_at IS 'When the row last changed.';

COMMENT ON TABLE raw.qb_run IS 'One row a call of qb_backfill: what was asked, by whom, and what became of it.';
COMMENT ON COLUMN raw.qb_run.run_id IS 'Number of the run; never used twice.';
COMMENT ON COLUMN raw.qb_run.connection IS 'Connection, see qb_config.';
COMMENT ON COLUMN raw.qb_run.entity IS 'Entity, see qb_entities.';
COMMENT ON COLUMN raw.qb_run.start_date IS 'First UTC day of the range.';
COMMENT ON COLUMN raw.qb_run.end_date IS 'Last UTC day of the range, inclusive.';
COMMENT ON COLUMN raw.qb_run.chunk_days IS 'Days in a window.';
COMMENT ON COLUMN raw.qb_run.page_size IS 'Records in a page.';
COMMENT ON COLUMN raw.qb_run.window_on IS 'updated = MetaData.LastUpdatedTime, created = MetaData.CreateTime.';
COMMENT ON COLUMN raw.qb_run.execution_date IS 'Becomes ingested_at_utc of the rows; NULL = the moment of storing.';
COMMENT ON COLUMN raw.qb_run.windows IS 'The windows, where they were named one by one; NULL = the range in windows of chunk_days.';
COMMENT ON COLUMN raw.qb_run.requested_by IS 'Role that asked; it must still have the right when the work starts.';
COMMENT ON COLUMN raw.qb_run.status IS 'queued, running, success, partial (some windows failed), failed, cancelled, blocked_auth (credentials need a person).';
COMMENT ON COLUMN raw.qb_run.windows_total IS 'Windows of the range.';
COMMENT ON COLUMN raw.qb_run.windows_done IS 'Windows stored.';
COMMENT ON COLUMN raw.qb_run.windows_failed IS 'Windows whose last attempt failed.';
COMMENT ON COLUMN raw.qb_run.row_count IS 'Records received: inserted + updated + skipped + rejected.';
COMMENT ON COLUMN raw.qb_run.inserted_count IS 'Records that were new.';
COMMENT ON COLUMN raw.qb_run.updated_count IS 'Records that had changed.';
COMMENT ON COLUMN raw.qb_run.skipped_count IS 'Records that were stored already, the same or newer.';
COMMENT ON COLUMN raw.qb_run.rejected_count IS 'Records that jsonb cannot hold, or that QuickBooks could not deliver: in qb_rejects.';
COMMENT ON COLUMN raw.qb_run.page_count IS 'Pages received.';
COMMENT ON COLUMN raw.qb_run.request_count IS 'Requests that its windows cost, retries included; see qb_api_usage for all.';
COMMENT ON COLUMN raw.qb_run.source_count IS 'Records that QuickBooks counted when the run ended, in the days of the range that were over when it began; NULL = not counted, as for windows that are apart.';
COMMENT ON COLUMN raw.qb_run.stored_count IS 'How many of them are stored: what the table held then, or what the run had read where that is less.';
COMMENT ON COLUMN raw.qb_run.attempt IS 'How often a worker took the run up.';
COMMENT ON COLUMN raw.qb_run.attempt_started_at IS 'When a worker last took it up.';
COMMENT ON COLUMN raw.qb_run.attempt_windows IS 'Windows that were stored already then.';
COMMENT ON COLUMN raw.qb_run.attempt_rows IS 'Records that were received already then.';
COMMENT ON COLUMN raw.qb_run.lost_attempts IS 'Attempts in a row that ended with their worker and had stored nothing; the tenth ends the run.';
COMMENT ON COLUMN raw.qb_run.worker_pid IS 'Process of the worker that last took it up. Who really works holds the advisory lock of the connection.';
COMMENT ON COLUMN raw.qb_run.not_before IS 'QuickBooks asked to wait until then; the other runs of the connection wait with it.';
COMMENT ON COLUMN raw.qb_run.cancel_requested_at IS 'When qb_cancel was called.';
COMMENT ON COLUMN raw.qb_run.error_code IS 'First error of the run, as a word.';
COMMENT ON COLUMN raw.qb_run.error_message IS 'First error of the run, in a sentence.';
COMMENT ON COLUMN raw.qb_run.error_hint IS 'What to do about it.';
COMMENT ON COLUMN raw.qb_run.requested_at IS 'When it was asked for.';
COMMENT ON COLUMN raw.qb_run.started_at IS 'When a worker first took it up.';
COMMENT ON COLUMN raw.qb_run.finished_at IS 'When it ended.';
COMMENT ON COLUMN raw.qb_run.updated_at IS 'When it last made progress.';
COMMENT ON TABLE raw.qb_pace IS 'Requests of the last minute for each connection, by second; keeps the limits of QuickBooks across workers.';
COMMENT ON COLUMN raw.qb_pace.connection IS 'Connection, see qb_config.';
COMMENT ON COLUMN raw.qb_pace.as_of IS 'Moment the list ends at.';
COMMENT ON COLUMN raw.qb_pace.sent IS 'Requests a second, newest first, sixty of them.';

COMMENT ON TABLE raw.qb_usage IS 'Requests of each month; see the view qb_api_usage.';
COMMENT ON COLUMN raw.qb_usage.connection IS 'Connection, see qb_config.';
COMMENT ON COLUMN raw.qb_usage.month IS 'First day of the month, UTC.';
COMMENT ON COLUMN raw.qb_usage.entity IS 'Entity, see qb_entities.';
COMMENT ON COLUMN raw.qb_usage.outcome IS 'success (windows stored), error (windows that failed), count (COUNT(*)), abandoned (cancelled or put aside). A request counts from when it is let go, whether it arrived or not.';
COMMENT ON COLUMN raw.qb_usage.requests IS 'Requests sent.';

COMMENT ON VIEW raw.qb_entities IS 'Every entity that can be asked for.';
COMMENT ON COLUMN raw.qb_entities.entity IS 'Name in SQL, part of the table names.';
COMMENT ON COLUMN raw.qb_entities.qbo_name IS 'Name in QuickBooks.';
COMMENT ON COLUMN raw.qb_entities.kind IS 'list (made inactive, never deleted) or transaction (deleted for good).';
COMMENT ON COLUMN raw.qb_entities.inactive_too IS 'Whether inactive records are asked for expressly.';
COMMENT ON COLUMN raw.qb_entities.table_name IS 'Table of the records.';
COMMENT ON COLUMN raw.qb_entities.report_table IS 'Table of the report rows.';
COMMENT ON VIEW raw.qb_connections IS 'The companies that are connected, without secrets.';
COMMENT ON COLUMN raw.qb_connections.connection IS 'Name of the connection.';
COMMENT ON COLUMN raw.qb_connections.realm_id IS 'Company id of QuickBooks Online.';
COMMENT ON COLUMN raw.qb_connections.environment IS 'production or sandbox.';
COMMENT ON COLUMN raw.qb_connections.target_schema IS 'Schema of its tables.';
COMMENT ON COLUMN raw.qb_connections.auth_state IS 'ok, refreshing, needs_reauth or bad_client.';
COMMENT ON COLUMN raw.qb_connections.page_size IS 'Upper bound of the page size.';
COMMENT ON COLUMN raw.qb_connections.monthly_budget IS 'Requests a month, NULL = no limit.';
COMMENT ON COLUMN raw.qb_connections.responsible IS 'Who looks after its credentials.';
COMMENT ON VIEW raw.qb_secrets IS 'The secrets of each connection: purpose, whether set, expiry, rotation, who is responsible. Never a value.';
COMMENT ON COLUMN raw.qb_secrets.connection IS 'Name of the connection.';
COMMENT ON COLUMN raw.qb_secrets.name IS 'Column of qb_config.';
COMMENT ON COLUMN raw.qb_secrets.purpose IS 'What it is for.';
COMMENT ON COLUMN raw.qb_secrets.is_set IS 'Whether there is one.';
COMMENT ON COLUMN raw.qb_secrets.expires_at IS 'When it ends.';
COMMENT ON COLUMN raw.qb_secrets.attention IS 'What somebody has to do about it; NULL = nothing.';
COMMENT ON COLUMN raw.qb_secrets.rotation IS 'How it is replaced.';
COMMENT ON COLUMN raw.qb_secrets.auth_state IS 'ok, refreshing, needs_reauth or bad_client.';
COMMENT ON COLUMN raw.qb_secrets.responsible IS 'Who looks after it.';
COMMENT ON VIEW raw.qb_history IS 'Runs, the newest first, as far as they fit on a screen; qb_run has all there is to say of them.';
COMMENT ON COLUMN raw.qb_history.run_id IS 'Run, see qb_run.';
COMMENT ON COLUMN raw.qb_history.connection IS 'Connection.';
COMMENT ON COLUMN raw.qb_history.entity IS 'Entity.';
COMMENT ON COLUMN raw.qb_history.start_date IS 'First UTC day, inclusive.';
COMMENT ON COLUMN raw.qb_history.end_date IS 'Last UTC day, inclusive.';
COMMENT ON COLUMN raw.qb_history.status IS 'As in qb_run.';
COMMENT ON COLUMN raw.qb_history.windows IS 'Windows stored / all.';
COMMENT ON COLUMN raw.qb_history.rows IS 'Records received.';
COMMENT ON COLUMN raw.qb_history.new IS 'Records that were new.';
COMMENT ON COLUMN raw.qb_history.updated IS 'Records that had changed.';
COMMENT ON COLUMN raw.qb_history.unchanged IS 'Records that were stored already, the same or newer.';
COMMENT ON COLUMN raw.qb_history.requests IS 'Requests sent, retries included.';
COMMENT ON COLUMN raw.qb_history.started_at IS 'When a worker took it up first.';
COMMENT ON COLUMN raw.qb_history.took IS 'From then to its end, or to now: hours:minutes:seconds.';
COMMENT ON COLUMN raw.qb_history.error_code IS 'Word for the first error.';
COMMENT ON VIEW raw.qb_progress IS 'Runs that wait or work: a bar, windows, rows, rows a second, time left.';
COMMENT ON COLUMN raw.qb_progress.run_id IS 'Run, see qb_run.';
COMMENT ON COLUMN raw.qb_progress.connection IS 'Connection.';
COMMENT ON COLUMN raw.qb_progress.entity IS 'Entity.';
COMMENT ON COLUMN raw.qb_progress.progress IS 'Windows done, as a bar.';
COMMENT ON COLUMN raw.qb_progress.windows IS 'Windows done / all.';
COMMENT ON COLUMN raw.qb_progress.rows IS 'Records received.';
COMMENT ON COLUMN raw.qb_progress."rows/s" IS 'Records a second since it started.';
COMMENT ON COLUMN raw.qb_progress."left" IS 'Time left by the pace so far, or what it waits for.';
COMMENT ON VIEW raw.qb_api_usage IS 'Requests spent, by connection, month (UTC), entity and outcome, beside the budget. Intuit meters reads.';
COMMENT ON COLUMN raw.qb_api_usage.connection IS 'Connection.';
COMMENT ON COLUMN raw.qb_api_usage.month IS 'Month, UTC.';
COMMENT ON COLUMN raw.qb_api_usage.entity IS 'Entity.';
COMMENT ON COLUMN raw.qb_api_usage.outcome IS 'success, error, count or abandoned, see qb_usage.';
COMMENT ON COLUMN raw.qb_api_usage.requests IS 'Requests sent.';
COMMENT ON COLUMN raw.qb_api_usage.of_month IS 'All requests of the connection in the month.';
COMMENT ON COLUMN raw.qb_api_usage.budget IS 'Requests that it may spend a month; NULL = no limit.';
COMMENT ON VIEW raw._qb_live_windows IS 'What live runs are at; for qb_backfill_windows.';
COMMENT ON COLUMN raw._qb_live_windows.run_id IS 'Run.';
COMMENT ON COLUMN raw._qb_live_windows.connection IS 'Connection.';
COMMENT ON COLUMN raw._qb_live_windows.entity IS 'Entity.';
COMMENT ON COLUMN raw._qb_live_windows.window_on IS 'updated or created.';
COMMENT ON COLUMN raw._qb_live_windows.spans IS 'Times its windows cover.';

COMMENT ON FUNCTION raw.qb_connect(text, text, text, text, text, text, name) IS
'Sets up a connection, or changes what is given: a NULL leaves it as it is. Without a refresh token the company is authorized with qb_authorize_url. Returns a line that says what was set, without secrets. Errors: 22004 a value that is wanted, 22023 a value that does not have its form, 42501 a target schema of a stranger, or a superuser''s that the caller may not choose, 23505 a realm or schema of another connection, 55000 a connection that has loaded another company, or has its tables in another schema.';
COMMENT ON FUNCTION raw.qb_backfill(text, date, date, int, int, text, timestamptz, text) IS
'Queues a run and returns its id at once; the work starts when the caller commits. The same live run asked for again returns the id of the one that exists. A connection that has to be authorized again is a WARNING. Errors: 22004 a NULL, 22023 an argument out of its range, 55000 no credentials, switched off, or the same run is being cancelled, 25006 a read-only transaction or server.';
COMMENT ON PROCEDURE raw.qb_wait(bigint, interval) IS
'Waits for a run and shows its progress in NOTICEs; NULL, from a call that had nothing to do, is not waited for. Ends with an error if the run failed (38000), was cancelled (57014) or is blocked by its credentials (28000), or when the timeout is over (57014). Other errors: 22023 a run that does not exist, 25001 inside a transaction block, 25006 a read-only transaction or server.';
COMMENT ON FUNCTION raw.qb_cancel(bigint) IS
'Ends a run within a second of the commit, wherever it is; windows already stored stay. Returns what was done. Errors: 22004 a NULL, 22023 a run that does not exist, 25006 a read-only transaction or server.';
COMMENT ON FUNCTION raw.qb_tick() IS
'Starts a worker for every connection that has a queued or orphaned run, or a refresh token that nobody uses, and nobody working on it, as many as qbo_raw.max_workers has room for. Returns how many are to start at commit. For pg_cron. Switched off it starts none, with a NOTICE. Errors: 25006 a read-only transaction or server.';
COMMENT ON FUNCTION raw._qb_wait_may() IS 'Refuses a transaction block; call qb_wait instead.';
COMMENT ON FUNCTION raw._qb_wait_look(bigint, timestamptz, interval, text) IS 'One look of qb_wait at a run; call qb_wait instead.';
COMMENT ON FUNCTION raw._qb_catalogue() IS 'The entities behind the view qb_entities.';
COMMENT ON FUNCTION raw._qb_bar(bigint, bigint, int) IS 'Draws a progress bar, in ASCII where the client''s encoding asks for it.';
COMMENT ON FUNCTION raw._qb_instant(text) IS 'Reads a time as QuickBooks writes it; NULL when it is none.';
COMMENT ON FUNCTION raw._qb_config_guard() IS 'Trigger of qb_config: checks the form of the values without printing them, and starts a new token generation when a person writes new credentials.';
COMMENT ON FUNCTION raw.qb_resume(bigint) IS
'Goes on with a run that ended before it was whole: only the windows without a success. A run that is alive or whole is left as it is, with a NOTICE. Returns the run''s id. Errors: 22004 a NULL, 22023 a run that does not exist, 55000 a run that is being cancelled, no credentials, or switched off, 25006 a read-only transaction or server.';
COMMENT ON FUNCTION raw.qb_backfill_windows(text, tstzrange[], int, text, text) IS
'Queues a run for exactly these windows and returns its id; those that a live run is at are left to it. Errors: 22004 a NULL, 22023 an argument out of its range, or windows that overlap or are not [from, to), 55000 no credentials or switched off, 25006 a read-only transaction or server.';
COMMENT ON FUNCTION raw.qb_retry_failed(text, int, text, text) IS
'Queues a run for the windows whose newest attempt failed, and no others. Returns its id, or NULL with a NOTICE when nothing has failed. Errors: those of qb_backfill_windows, 22004, 22023, 55000, 25006.';
COMMENT ON FUNCTION raw.qb_gaps(text, date, date, text, text) IS
'The ranges of days that are over and that no successful window covers, by the newest attempt, and why. Both days of a gap belong to it. Errors: 22004 a NULL, 22023 an argument out of its range.';
COMMENT ON FUNCTION raw.qb_fill_gaps(text, date, date, int, int, text, text) IS
'Queues a run for the gaps of a range, in windows of at most chunk_days. Returns its id, or NULL with a NOTICE when there is no gap. Errors: those of qb_backfill_windows, 22004, 22023, 55000, 25006.';
COMMENT ON FUNCTION raw.qb_coverage(text, date, date, text, text) IS
'Draws a calendar of what is covered: a line a month, a mark a day, by the newest attempt at each day (UTC). In ASCII where the client''s encoding asks for it: # covered, x failed, ~ in part, . missing. Errors: 22004 a NULL, 22023 an argument out of its range.';
COMMENT ON FUNCTION raw.qb_verify(text, date, date, int, text, text) IS
'Asks QuickBooks for COUNT(*) of each window and puts it beside what the table holds. A window that was fetched whole and lacks records is a WARNING. Each window costs a request. Errors: 22004 a NULL, 22023 an argument out of its range, 25006 a read-only transaction or server, 08006 the worker ended without an answer, 53400 no worker slot is free, 55000 no credentials or switched off, 55006 while a run works on the connection; what QuickBooks says.';
COMMENT ON FUNCTION raw.qb_plan(text, date, date, int, int, text, text) IS
'A dry run: COUNT(*) of each window, and the requests that fetching it will cost; in NOTICEs the sum, the minutes and the budget. Each window costs a request. Errors: 22004 a NULL, 22023 an argument out of its range, 25006 a read-only transaction or server, 08006 the worker ended without an answer, 53400 no worker slot is free, 55000 no credentials or switched off, 55006 while a run works on the connection; what QuickBooks says.';
COMMENT ON FUNCTION raw.qb_check(text) IS
'A doctor: one row a check, whether it is well, and what to do if not. Renews the token if it has run out, and sends one query. Before the first connection it says so in a row. Errors: 22004 a NULL, 22023 a connection that is not among those there are.';
COMMENT ON FUNCTION raw.qb_authorize_url(text, text) IS
'Returns the address of Intuit''s page where the administrator of a company consents; good for an hour, once. Errors: 22004 a NULL, 22023 a redirect_uri that is neither https nor this machine or a connection that does not exist, 55000 no client id or secret, or switched off, 25006 a read-only transaction or server.';
COMMENT ON FUNCTION raw.qb_authorize(text) IS
'Takes the address that the browser was sent back to, checks its state, redeems its code and stores realm and tokens, at once and for good, even if the caller rolls back. Errors: 22004 a NULL, 28000 with what is wrong, 25006 a read-only transaction or server, 08006 the worker ended without an answer, 53400 no worker slot is free, 55000 switched off. The address holds a secret and is never repeated.';
COMMENT ON FUNCTION raw.qb_disconnect(text) IS
'Gives the authorization of a connection back to Intuit and forgets its tokens; tables stay. Errors: 22004 a NULL, 25006 a read-only transaction or server, 22023 a connection that does not exist, 08006 Intuit does not answer: then nothing is changed, 53400 no worker slot is free, 55000 no client id or secret, or switched off.';
COMMENT ON FUNCTION raw.qb_schedule_once(timestamptz, text, date, date, int, int, text, timestamptz, text) IS
'Has pg_cron call qb_backfill once, at a time up to 360 days ahead, and wait for the run; then the job gets a day that never comes, 30 February, and stays as evidence. Returns the job''s id. Asked for again it is the same job. Errors: 22004 a NULL, 22023 a time that is over or too far, or what qb_backfill would refuse then, 42501 no right on the schema cron, 55000 no pg_cron in this database.';
COMMENT ON FUNCTION raw.qb_purge_reports(interval) IS
'Deletes report rows older than that which say nothing any more about what is covered, and runs that no row speaks of. Returns how many. Errors: 22004 a NULL, 22023 less than a day, 25006 a read-only transaction or server.';
COMMENT ON FUNCTION raw._qb_count(text, date, date, int, text, text, boolean) IS 'COUNT(*) of each window in QuickBooks and in the table; call qb_verify or qb_plan instead.';
COMMENT ON FUNCTION raw._qb_workers() IS 'Free slots for background workers, and whether the launcher runs; call qb_check instead.';
COMMENT ON FUNCTION raw._qb_probe(text) IS 'Tries a connection out; call qb_check instead.';
COMMENT ON FUNCTION raw._qb_purge_before(timestamptz) IS 'Deletes old reports; call qb_purge_reports instead.';
COMMENT ON FUNCTION raw._qb_fire(text, timestamptz, text, date, date, int, int, text, timestamptz, text) IS 'What the job of qb_schedule_once calls.';
COMMENT ON FUNCTION raw._qb_entity(text) IS 'The entity that a person means: case, plural and QuickBooks'' own name do not matter. Errors: 22004 a NULL, 22023 with the nearest name.';
COMMENT ON FUNCTION raw._qb_report_of(text, text) IS 'The report table of an entity; NULL when nothing was fetched yet.';
COMMENT ON FUNCTION raw._qb_day_of(timestamptz) IS 'The day, UTC, that is not over at this moment; a day is over five minutes after its end.';
COMMENT ON FUNCTION raw._qb_days(text, text, text, date, date) IS 'What the newest attempt at each day says; the base of coverage and gaps.';
COMMENT ON FUNCTION raw._qb_lost(text, text, text) IS 'Days that were stored in a table that was dropped or renamed, and what fetches them again.';
COMMENT ON FUNCTION raw._qb_check_range(date, date) IS 'Refuses a range that ends before it begins or has no measure.';
COMMENT ON FUNCTION raw._qb_check_page_size(int) IS 'Refuses a page size that QuickBooks does not give.';
COMMENT ON FUNCTION raw._qb_is_utf8() IS 'Whether the client can show more than ASCII.';
COMMENT ON FUNCTION raw._qb_paused_until(text) IS 'Until when QuickBooks asked a connection to wait; NULL: it need not.';
COMMENT ON FUNCTION raw._qb_clock(float8) IS 'Seconds as a person reads them.';
COMMENT ON FUNCTION raw._qb_token_is_idle(raw.qb_config) IS 'Whether the refresh token of a connection wants to be renewed because nobody uses it.';
