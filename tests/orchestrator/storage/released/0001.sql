BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE api_tokens (
	position INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	role TEXT NOT NULL, 
	secret_hash TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	expires_at DATETIME, 
	revoked BOOLEAN NOT NULL, 
	CONSTRAINT pk_api_tokens PRIMARY KEY (position), 
	CONSTRAINT uq_api_tokens_id UNIQUE (id), 
	CONSTRAINT uq_api_tokens_secret_hash UNIQUE (secret_hash)
);
INSERT INTO "api_tokens" VALUES(1,'token-5','ci','viewer','hash-6','2026-11-24 12:30:15.123456','2026-11-24 12:30:15.123456',0);
CREATE TABLE audit_entries (
	position INTEGER NOT NULL, 
	number BIGINT NOT NULL, 
	recorded_at DATETIME NOT NULL, 
	actor TEXT NOT NULL, 
	method TEXT NOT NULL, 
	parameters TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	request_id TEXT NOT NULL, 
	previous_hash TEXT NOT NULL, 
	hash TEXT NOT NULL, 
	CONSTRAINT pk_audit_entries PRIMARY KEY (position), 
	CONSTRAINT uq_audit_entries_number UNIQUE (number)
);
INSERT INTO "audit_entries" VALUES(1,1,'2026-11-24 12:30:15.123456','token local (admin)','RolloutService/CreateRollout','release=digits:1','allowed','request','0000000000000000000000000000000000000000000000000000000000000000','289a0bc7ec22cabdb7792feffec2764dae5879de683f7b58e669544ece356023');
CREATE TABLE deployment_reports (
	position INTEGER NOT NULL, 
	report_id TEXT NOT NULL, 
	deployment_id TEXT NOT NULL, 
	state TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	reported_at DATETIME NOT NULL, 
	CONSTRAINT pk_deployment_reports PRIMARY KEY (position), 
	CONSTRAINT fk_deployment_reports_deployment_id_deployments FOREIGN KEY(deployment_id) REFERENCES deployments (id) ON DELETE CASCADE, 
	CONSTRAINT uq_deployment_reports_report_id UNIQUE (report_id)
);
INSERT INTO "deployment_reports" VALUES(1,'report','deployment-17','active','','2026-11-24 12:30:15.123456');
CREATE TABLE deployments (
	position INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	rollout_id TEXT NOT NULL, 
	device_id TEXT NOT NULL, 
	state TEXT NOT NULL, 
	updated_at DATETIME NOT NULL, 
	wave BIGINT NOT NULL, 
	started_at DATETIME, 
	excused BOOLEAN NOT NULL, 
	previous_manifest_sha256 TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	CONSTRAINT pk_deployments PRIMARY KEY (position), 
	CONSTRAINT fk_deployments_rollout_id_rollouts FOREIGN KEY(rollout_id) REFERENCES rollouts (id) ON DELETE CASCADE, 
	CONSTRAINT uq_deployments_id UNIQUE (id), 
	CONSTRAINT uq_deployments_rollout_id_device_id UNIQUE (rollout_id, device_id)
);
INSERT INTO "deployments" VALUES(1,'deployment-17','rollout-16','device-1','pending','2026-11-24 12:30:15.123456',0,'2026-11-24 12:30:15.123456',1,'eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee','');
CREATE TABLE devices (
	position INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	facts JSON NOT NULL, 
	key_fingerprint TEXT NOT NULL, 
	certificate_expires_at DATETIME NOT NULL, 
	enrolled_at DATETIME NOT NULL, 
	labels JSON NOT NULL, 
	last_seen_at DATETIME, 
	session_epoch BIGINT NOT NULL, 
	active_release JSON, 
	next_key_fingerprint TEXT NOT NULL, 
	CONSTRAINT pk_devices PRIMARY KEY (position), 
	CONSTRAINT uq_devices_id UNIQUE (id), 
	CONSTRAINT uq_devices_key_fingerprint UNIQUE (key_fingerprint), 
	CONSTRAINT uq_devices_name UNIQUE (name)
);
INSERT INTO "devices" VALUES(1,'device-1','pi-2','{"hostname": "pi", "architecture": "aarch64", "board": "Raspberry Pi 5", "cpu_model": "", "instruction_sets": [], "cpu_count": 0, "memory_bytes": 0, "operating_system": "", "python_version": "", "agent_version": "", "runtimes": [{"name": "onnxruntime", "version": "1.32.0", "formats": ["onnx"], "providers": []}], "meters": [], "host_id": ""}','key-3','2026-12-24 12:30:15.123456','2026-11-24 12:30:15.123456','{"room": "lab"}','2026-11-24 12:30:15.123456',0,'{"manifest_sha256": "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", "name": "digits", "version": "1"}','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff');
CREATE TABLE enrolments (
	position INTEGER NOT NULL, 
	token_id TEXT NOT NULL, 
	key_fingerprint TEXT NOT NULL, 
	device_id TEXT NOT NULL, 
	CONSTRAINT pk_enrolments PRIMARY KEY (position), 
	CONSTRAINT fk_enrolments_device_id_devices FOREIGN KEY(device_id) REFERENCES devices (id) ON DELETE CASCADE, 
	CONSTRAINT fk_enrolments_token_id_join_tokens FOREIGN KEY(token_id) REFERENCES join_tokens (id) ON DELETE CASCADE, 
	CONSTRAINT uq_enrolments_token_id_key_fingerprint UNIQUE (token_id, key_fingerprint)
);
INSERT INTO "enrolments" VALUES(1,'token-4','key-3','device-1');
CREATE TABLE jobs (
	position INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	device_id TEXT NOT NULL, 
	request JSON NOT NULL, 
	state TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	attempt BIGINT NOT NULL, 
	lease_expires_at DATETIME, 
	progress TEXT NOT NULL, 
	result_id TEXT NOT NULL, 
	error TEXT NOT NULL, 
	CONSTRAINT pk_jobs PRIMARY KEY (position), 
	CONSTRAINT uq_jobs_id UNIQUE (id), 
	CONSTRAINT uq_jobs_key UNIQUE ("key")
);
INSERT INTO "jobs" VALUES(1,'job-7','purpose-8','device-1','{"artifact_sha256": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "artifact_size_bytes": 1000, "artifact_format": "onnx", "runtime": "", "threads": 1, "minimum_samples": 200, "minimum_duration_s": 2.0, "maximum_duration_s": 30.0, "golden_sha256": "", "golden_size_bytes": 0, "golden_tolerance": 0.0}','queued','2026-11-24 12:30:15.123456',0,'2026-11-24 12:31:15.123456','','','');
CREATE TABLE join_tokens (
	position INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	secret_hash TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	expires_at DATETIME NOT NULL, 
	maximum_uses BIGINT NOT NULL, 
	uses BIGINT NOT NULL, 
	revoked BOOLEAN NOT NULL, 
	labels JSON NOT NULL, 
	CONSTRAINT pk_join_tokens PRIMARY KEY (position), 
	CONSTRAINT uq_join_tokens_id UNIQUE (id)
);
INSERT INTO "join_tokens" VALUES(1,'token-4','hash','2026-11-24 12:30:15.123456','2026-11-24 12:45:15.123456',1,0,0,'{"room": "lab"}');
CREATE TABLE measurements (
	position INTEGER NOT NULL, 
	result_id TEXT NOT NULL, 
	device_id TEXT NOT NULL, 
	device_class TEXT NOT NULL, 
	artifact_sha256 TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	measured_at DATETIME NOT NULL, 
	detail TEXT NOT NULL, 
	latency JSON, 
	energy JSON, 
	memory JSON, 
	numerics JSON, 
	conditions JSON NOT NULL, 
	CONSTRAINT pk_measurements PRIMARY KEY (position), 
	CONSTRAINT uq_measurements_result_id UNIQUE (result_id)
);
INSERT INTO "measurements" VALUES(1,'result-9','device-1','pi-5','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','ok','2026-11-24 12:30:15.123456','','{"p50_ms": {"value": 1.25, "lower": 1.0, "upper": 1.5}, "p90_ms": {"value": 1.25, "lower": 1.0, "upper": 1.5}, "p95_ms": {"value": 1.25, "lower": 1.0, "upper": 1.5}, "p99_ms": null, "mean_ms": 1.3, "minimum_ms": 0.9, "sample_count": 400, "load_ms": 12.0, "first_inference_ms": 4.0, "warm_up_count": 20, "steady_state": true, "quality": "low", "remarks": ["load average 2.1"]}','{"gross_mj": 2.0, "net_mj": 1.5, "lower_mj": 1.4, "upper_mj": 1.6, "meter": "rapl", "provenance": "measured", "scope": "cpu_package", "remark": ""}','{"peak_bytes": 50000000, "baseline_bytes": 40000000, "provenance": "measured"}','{"checked": true, "maximum_absolute_error": 1e-06, "maximum_relative_error": "Infinity"}','{"runtime": "onnxruntime", "runtime_version": "1.32.0", "provider": "", "threads": 1, "governor": "", "load_average": 0.0, "temperature_c": 51.5}');
CREATE TABLE releases (
	position INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	version TEXT NOT NULL, 
	counter BIGINT NOT NULL, 
	manifest_path TEXT NOT NULL, 
	manifest_sha256 TEXT NOT NULL, 
	manifest_json TEXT NOT NULL, 
	artifact_sha256 TEXT NOT NULL, 
	artifact_size_bytes BIGINT NOT NULL, 
	artifact_format TEXT NOT NULL, 
	search_id TEXT NOT NULL, 
	trial_id TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_releases PRIMARY KEY (position), 
	CONSTRAINT uq_releases_id UNIQUE (id), 
	CONSTRAINT uq_releases_name_counter UNIQUE (name, counter), 
	CONSTRAINT uq_releases_name_version UNIQUE (name, version)
);
INSERT INTO "releases" VALUES(1,'release-14','digits-15','1',1,'digits/1.json','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','{}','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd',1000,'onnx','search-10','trial-12','2026-11-24 12:30:15.123456');
CREATE TABLE rollouts (
	position INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	release_id TEXT NOT NULL, 
	selector TEXT NOT NULL, 
	state TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	"plan" JSON NOT NULL, 
	wave BIGINT NOT NULL, 
	idempotency_key TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	finished_at DATETIME, 
	CONSTRAINT pk_rollouts PRIMARY KEY (position), 
	CONSTRAINT fk_rollouts_release_id_releases FOREIGN KEY(release_id) REFERENCES releases (id), 
	CONSTRAINT uq_rollouts_id UNIQUE (id)
);
INSERT INTO "rollouts" VALUES(1,'rollout-16','release-14','all','running','2026-11-24 12:30:15.123456','{"waves": [{"devices": 0, "fraction": 1.0}], "success_fraction": 1.0, "error_fraction": 0.5, "minimum_sample": 1, "soak_s": 0.0, "max_parallel": 0, "offline_deadline_s": null, "open": false, "seed": 0}',0,'','','2026-11-24 12:30:15.123456');
CREATE TABLE searches (
	position INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	state TEXT NOT NULL, 
	spec JSON NOT NULL, 
	workload_filename TEXT NOT NULL, 
	workload_sha256 TEXT NOT NULL, 
	device_ids JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	idempotency_key TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	metric_name TEXT NOT NULL, 
	baseline_sha256 TEXT NOT NULL, 
	baseline_trial_id TEXT NOT NULL, 
	best_trial_id TEXT NOT NULL, 
	closest_trial_id TEXT NOT NULL, 
	finished_at DATETIME, 
	CONSTRAINT pk_searches PRIMARY KEY (position), 
	CONSTRAINT uq_searches_id UNIQUE (id)
);
INSERT INTO "searches" VALUES(1,'search-10','digits-11','running','{"name": "digits", "devices": ["pi"], "budgets": {"latency_p95": "20ms", "energy": null, "memory": null, "size": "64kB", "accuracy": null, "accuracy_drop": null}, "recipes": [], "formats": ["onnx"], "sampler": "measure-first", "max_trials": 100, "time_limit": null, "parallel": null, "seed": 0, "measuring": {"runtime": "", "threads": 1, "samples": 200, "minimum_duration": "2s", "maximum_duration": "30s"}}','digits.py','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','["device-1"]','2026-11-24 12:30:15.123456','','','','','','','','2026-11-24 12:30:15.123456');
CREATE TABLE trials (
	position INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	search_id TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	title TEXT NOT NULL, 
	recipe_json TEXT NOT NULL, 
	state TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	reason TEXT NOT NULL, 
	progress TEXT NOT NULL, 
	format TEXT NOT NULL, 
	size_bytes BIGINT, 
	structure_sha256 TEXT NOT NULL, 
	draft_sha256 TEXT NOT NULL, 
	artifact_sha256 TEXT NOT NULL, 
	golden_sha256 TEXT NOT NULL, 
	golden_tolerance DOUBLE, 
	accuracy DOUBLE, 
	train_s DOUBLE, 
	passes_json TEXT NOT NULL, 
	measurement_ids JSON NOT NULL, 
	verdicts JSON NOT NULL, 
	finished_at DATETIME, 
	CONSTRAINT pk_trials PRIMARY KEY (position), 
	CONSTRAINT fk_trials_search_id_searches FOREIGN KEY(search_id) REFERENCES searches (id) ON DELETE CASCADE, 
	CONSTRAINT uq_trials_id UNIQUE (id), 
	CONSTRAINT uq_trials_search_id_number UNIQUE (search_id, number)
);
INSERT INTO "trials" VALUES(1,'trial-12','search-10',13,'prune 0.5','{}','queued','2026-11-24 12:30:15.123456','','','',1000,'','','','',NULL,'nan',1.5,'[]','{"device-1": "result"}','[{"budget": "latency_p95_ms", "limit": 20.0, "value": "Infinity", "held": false, "device": "pi-2"}]','2026-11-24 12:30:15.123456');
CREATE INDEX ix_jobs_device_id_state ON jobs (device_id, state);
CREATE INDEX ix_jobs_state_lease_expires_at ON jobs (state, lease_expires_at);
CREATE INDEX ix_measurements_artifact_sha256_device_id ON measurements (artifact_sha256, device_id);
CREATE INDEX ix_measurements_device_id ON measurements (device_id);
CREATE INDEX ix_releases_manifest_sha256 ON releases (manifest_sha256);
CREATE INDEX ix_searches_name ON searches (name);
CREATE INDEX ix_searches_state ON searches (state);
CREATE UNIQUE INDEX uq_searches_idempotency_key ON searches (idempotency_key) WHERE idempotency_key != '';
CREATE INDEX ix_rollouts_release_id ON rollouts (release_id);
CREATE INDEX ix_rollouts_state ON rollouts (state);
CREATE UNIQUE INDEX uq_rollouts_idempotency_key ON rollouts (idempotency_key) WHERE idempotency_key != '';
CREATE INDEX ix_trials_structure_sha256 ON trials (structure_sha256);
CREATE INDEX ix_deployments_device_id ON deployments (device_id);
CREATE INDEX ix_deployment_reports_deployment_id ON deployment_reports (deployment_id);
COMMIT;
