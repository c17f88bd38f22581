# Prints the environment of a new agent container: what ecs-init always sets, then its files, the last of a name counts.
# ecs-init splits at the first `=` and knows neither comments nor quotes (proxy-by-os 4.2).
BEGIN {
    push("ECS_DATADIR", "/data")
    push("ECS_LOGFILE", "/log/ecs-agent.log")
    push("ECS_AGENT_CONFIG_FILE_PATH", "/etc/ecs/ecs.config.json")
    push("ECS_UPDATE_DOWNLOAD_DIR", "/var/cache/ecs")
    push("ECS_UPDATES_ENABLED", "true")
    push("ECS_AVAILABLE_LOGGING_DRIVERS", "[\"json-file\",\"syslog\",\"awslogs\",\"fluentd\",\"none\"]")
    push("ECS_ENABLE_TASK_ENI", "true")
    push("ECS_ENABLE_TASK_IAM_ROLE", "true")
    push("SSL_CERT_DIR", "/etc/pki/tls/certs")
    read_file(root "/var/lib/ecs/ecs.config")
    read_file(root "/etc/ecs/ecs.config")
    push("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    for (i = 1; i <= variables; i++) print order[i] "=" value[order[i]]
    exit
}

function read_file(path,   line, i) {
    while ((getline line < path) > 0) {
        sub(/^[ \t\r]+/, "", line)
        sub(/[ \t\r]+$/, "", line)
        i = index(line, "=")
        if (i > 0) push(substr(line, 1, i - 1), substr(line, i + 1))
    }
    close(path)
}

function push(name, text) {
    if (!(name in value)) order[++variables] = name
    value[name] = text
}
