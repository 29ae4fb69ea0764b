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
COMMENT ON COLUMN raw.qb_config.auth_state IS 'ok, refreshing, needs_reauth (connect the company again) or bad_client (wrong client id or secret).';
COMMENT ON COLUMN raw.qb_config.refresh_started_at IS 'When the refresh now under way announced itself.';
COMMENT ON COLUMN raw.qb_config.refreshed_at IS 'When the newest tokens were stored.';
COMMENT ON COLUMN raw.qb_config.last_error IS 'What Intuit last said against the credentials.';
COMMENT ON COLUMN raw.qb_config.last_intuit_tid IS 'Transaction id of that answer, for Intuit''s support.';
COMMENT ON COLUMN raw.qb_config.target_schema IS 'Schema of the data, report and reject tables of the connection.';
COMMENT ON COLUMN raw.qb_config.page_size IS 'Upper bound of the page size for this company, 1 to 1000.';
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
COMMENT ON COLUMN raw.qb_run.requested_by IS 'Role that asked; it must still have the right when the work starts.';
COMMENT ON COLUMN raw.qb_run.status IS 'queued, running, success, partial (some windows failed), failed, cancelled, blocked_auth (credentials need a person).';
COMMENT ON COLUMN raw.qb_run.windows_total IS 'Windows of the range.';
COMMENT ON COLUMN raw.qb_run.windows_done IS 'Windows stored.';
COMMENT ON COLUMN raw.qb_run.windows_failed IS 'Windows whose last attempt failed.';
COMMENT ON COLUMN raw.qb_run.row_count IS 'Records received: inserted + updated + skipped + rejected.';
COMMENT ON COLUMN raw.qb_run.inserted_count IS 'Records that were new.';
COMMENT ON COLUMN raw.qb_run.updated_count IS 'Records that had changed.';
COMMENT ON COLUMN raw.qb_run.skipped_count IS 'Records that were stored already, the same or newer.';
COMMENT ON COLUMN raw.qb_run.rejected_count IS 'Records that jsonb cannot hold, kept as text in qb_rejects.';
COMMENT ON COLUMN raw.qb_run.page_count IS 'Pages received.';
COMMENT ON COLUMN raw.qb_run.request_count IS 'Requests sent to QuickBooks, retries included.';
COMMENT ON COLUMN raw.qb_run.attempt IS 'How often a worker took the run up.';
COMMENT ON COLUMN raw.qb_run.worker_pid IS 'Process of the worker that last took it up. Who really works holds the advisory lock of the connection.';
COMMENT ON COLUMN raw.qb_run.not_before IS 'QuickBooks asked to wait until then.';
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

COMMENT ON VIEW raw.qb_entities IS 'Every entity that can be asked for.';
COMMENT ON VIEW raw.qb_secrets IS 'The secrets of each connection: purpose, whether set, expiry, rotation, who is responsible. Never a value.';
COMMENT ON VIEW raw.qb_progress IS 'Runs that wait or work: windows, rows, rows a second, time left, a bar.';

COMMENT ON FUNCTION raw.qb_connect(text, text, text, text, text, text, name) IS
'Sets up or replaces a connection. Returns a line that says what was set, without secrets. Errors: 22004 a NULL, 22023 a value that does not have its form, 42501 a target schema of a stranger, 23505 a realm that is connected already.';
COMMENT ON FUNCTION raw.qb_backfill(text, date, date, int, int, text, timestamptz, text) IS
'Queues a run and returns its id at once; the work starts when the caller commits. The same live run asked for again returns the id of the one that exists. Errors: 22004 a NULL, 22023 an argument out of its range, 55000 no credentials or switched off, 25006 a read-only server.';
COMMENT ON PROCEDURE raw.qb_wait(bigint, interval) IS
'Waits for a run and shows its progress in NOTICEs. Ends with an error if the run failed (38000), was cancelled (57014) or is blocked by its credentials (28000), or when the timeout is over (57014). Cannot be called inside a transaction block.';
COMMENT ON FUNCTION raw.qb_cancel(bigint) IS
'Ends a run within a second of the commit, wherever it is; windows already stored stay. Returns what was done. Errors: 22004 a NULL, 22023 a run that does not exist.';
COMMENT ON FUNCTION raw.qb_tick() IS
'Starts a worker for every connection that has a queued or orphaned run and nobody working on it. Returns how many are to start at commit. For pg_cron.';
COMMENT ON FUNCTION raw.qb_wait_look(bigint, timestamptz, interval, text) IS 'One look of qb_wait at a run; call qb_wait instead.';
COMMENT ON FUNCTION raw.qb_catalogue() IS 'The entities behind the view qb_entities.';
COMMENT ON FUNCTION raw.qb_bar(bigint, bigint, int) IS 'Draws a progress bar, in ASCII where the client''s encoding asks for it.';
COMMENT ON FUNCTION raw.qb_instant(text) IS 'Reads a time as QuickBooks writes it; NULL when it is none.';
COMMENT ON FUNCTION raw.qb_config_guard() IS 'Trigger of qb_config: checks the form of the values without printing them, and starts a new token generation when a person writes new credentials.';
