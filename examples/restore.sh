#!/usr/bin/env bash
# Restore a range of days: a dry run of each one first, then one after the other.
#
#     RESTORE_KEY=... ./restore.sh --url URL --archive PATTERN --from DAY [--to DAY] [more]
#
#   --url URL           https://<host>/api/restore
#   --archive PATTERN   adls_url of a day, with {day} in it: backups/weavix/silver.telemetry.{day}.csv.gz
#   --from DAY          first day, 2025-01-01
#   --to DAY            last day; one day only where it is left out
#   --request FILE      JSON object with the rest of the request (docs/request.md), the same for each day
#   --dry-run-only      write nothing
#   --no-dry-run        restore at once
#   --retries N         how often a request is sent again where the answer says that it may work later (2)
#   --wait SECONDS      before that (30)
#
# RESTORE_KEY is the function's key. It is handed to curl on a pipe, so no list of processes shows it.
# Standard output has the answers, one JSON object a line; standard error is for a person. Exit status:
#   0   every day is restored; read the warnings
#   1   a request was refused: the day is as it was before
#   2   wrong usage; nothing was sent
#   3   it is not known whether a day was loaded: look into the function's log before it is sent again
#   75  an error that may pass stayed; the day is as it was before
# Needs bash, curl and jq.
set -euo pipefail

fail() { # fail STATUS TEXT...
    printf 'error: %s\n' "${*:2}" >&2
    exit "$1"
}

say() {
    printf '%s\n' "$*" >&2
}

url='' archive='' from='' to='' more='' retries=2 wait=30 dry_run=1 restore=1
while [ $# -gt 0 ]; do
    option=$1 value=${2-}
    case $option in
        --dry-run-only) restore=0 && shift && continue ;;
        --no-dry-run) dry_run=0 && shift && continue ;;
        --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p;}' "$0" && exit ;;
    esac
    case $option in
        --url) url=$value ;;
        --archive) archive=$value ;;
        --from) from=$value ;;
        --to) to=$value ;;
        --request) more=$value ;;
        --retries) retries=$value ;;
        --wait) wait=$value ;;
        *) fail 2 "unknown option $option; --help lists them" ;;
    esac
    [ -n "$value" ] || fail 2 "$option needs a value"
    shift 2
done

for program in curl jq; do
    command -v "$program" >/dev/null || fail 2 "$program is not installed"
done
if [ -z "$url" ] || [ -z "$archive" ] || [ -z "$from" ]; then
    fail 2 "--url, --archive and --from are needed; --help says more"
fi
case $url in
    *[?\&]code=*) fail 2 "the key belongs into RESTORE_KEY, not into the URL" ;;
    https://* | http://127.0.0.1[:/]* | http://localhost[:/]*) ;;
    *) fail 2 "the URL must begin with https://, or the key could be read on its way" ;;
esac
case ${RESTORE_KEY:-} in *[!A-Za-z0-9_=/+.~-]*) fail 2 "RESTORE_KEY holds a character that no function key has" ;; esac
case $archive in *'{day}'*) ;; *) fail 2 "--archive must hold {day}" ;; esac
case $retries$wait in *[!0-9]*) fail 2 "--retries and --wait take whole numbers" ;; esac
((dry_run || restore)) || fail 2 "--dry-run-only and --no-dry-run leave nothing to do"

work=$(umask 077 && mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -n "$more" ]; then
    jq --slurp --exit-status 'if length == 1 and (.[0] | type == "object") then .[0] else false end' \
        "$more" >"$work/more.json" 2>/dev/null || fail 2 "$more is no JSON object"
else
    echo '{}' >"$work/more.json"
fi

# jq counts the days: the date of GNU and that of macOS have nothing in common. A day that comes back changed was none.
days=$(jq --null-input --raw-output --arg from "$from" --arg to "${to:-$from}" '
    def seconds: . as $day | strptime("%Y-%m-%d") | mktime
        | if strftime("%Y-%m-%d") == $day then . else error("no day") end;
    range($from | seconds; ($to | seconds) + 1; 86400) | strftime("%Y-%m-%d")' 2>/dev/null) ||
    fail 2 "--from and --to must be days, as in 2025-01-31"
[ -n "$days" ] || fail 2 "--to is before --from"

send() { # print the HTTP status; curl's own exit status says what went wrong on the way
    {
        [ -z "${RESTORE_KEY:-}" ] || printf 'header = "x-functions-key: %s"\n' "$RESTORE_KEY"
    } | curl --config - --silent --show-error --max-time 240 --header 'Content-Type: application/json' \
        --data-binary "@$work/request.json" --output "$work/answer.json" --write-out '%{http_code}' "$url"
}

ask() { # ask DAY DRY_RUN: one request; `verdict` is fine, refused, later or unknown
    local day=$1 dry=$2 status code=0
    jq --arg url "${archive//\{day\}/$day}" --argjson dry "$dry" \
        '. + {adls_url: $url} + (if $dry == 1 then {dry_run: true} else {} end)' "$work/more.json" >"$work/request.json"
    : >"$work/answer.json"
    status=$(send) || code=$?
    # As a list, since jq 1.6 takes an empty file for a yes.
    if jq --slurp --exit-status 'length == 1 and (.[0] | type == "object" and has("request_id"))' \
        "$work/answer.json" >/dev/null 2>&1; then
        jq --compact-output . "$work/answer.json"
        judge "$day" "$status"
        return
    fi
    # No answer of the function. What was never sent cannot have done anything.
    case $code:$status in
        5:* | 6:* | 7:* | 35:* | 60:*) verdict=later && say "$day: $url cannot be reached" ;;
        0:401) verdict=refused && say "$day: HTTP 401: RESTORE_KEY is missing or wrong" ;;
        0:403) verdict=refused && say "$day: HTTP 403: the function app does not let this machine in" ;;
        0:404) verdict=refused && say "$day: HTTP 404: there is no function at $url" ;;
        *) verdict=unknown && say "$day: no answer of the function (HTTP $status); the restore may run on" ;;
    esac
    # A dry run writes nothing, whatever became of it.
    if [ "$verdict" = unknown ] && [ "$dry" = 1 ]; then verdict=later; fi
}

judge() { # judge DAY HTTP_STATUS: read an answer
    if [ "$2" = 200 ]; then
        jq --raw-output --arg day "$1" '
            if .dry_run then "\($day): dry run, \(.dry_run.rows_in_archive) rows in the archive",
                (.dry_run.problems[] | "\($day): would end with \(.code): \(.message)")
            else "\($day): \(.status), \(.rows_loaded) rows", (.warnings[] | "\($day): warning \(.code): \(.message)")
            end' "$work/answer.json" >&2
        verdict=fine
        if jq --exit-status '.dry_run.problems // [] | length > 0' "$work/answer.json" >/dev/null; then verdict=refused; fi
        return
    fi
    jq --raw-output --arg day "$1" --arg status "$2" '
        "\($day): error \(.error.code) (HTTP \($status)): \(.error.message)",
        (if .error.hint then "    hint: \(.error.hint)" else empty end),
        (.error.details[] | select(.target) | "    \(.target): \(.message)"),
        "    request_id: \(.request_id)"' "$work/answer.json" >&2
    verdict=$(jq --raw-output '.error | if .code == "CommitOutcomeUnknown" then "unknown"
        elif .retryable then "later" else "refused" end' "$work/answer.json")
}

ask_again() { # ask_again DAY DRY_RUN: as often as it may help
    local left=$retries
    ask "$@"
    while [ "$verdict" = later ] && ((left > 0)); do
        say "    again in $wait s"
        sleep "$wait"
        left=$((left - 1))
        ask "$@"
    done
}

stop() { # stop VERDICT
    case $1 in
        fine) ;;
        refused) exit 1 ;;
        later) exit 75 ;;
        *) exit 3 ;;
    esac
}

if ((dry_run)); then
    worst=fine
    for day in $days; do
        ask_again "$day" 1
        # A refusal is for good, so it counts more than what may pass.
        if [ "$verdict" = refused ] || [ "$worst" = fine ]; then worst=$verdict; fi
    done
    [ "$worst" = fine ] || say "nothing was restored"
    stop "$worst"
fi
if ((restore)); then
    for day in $days; do
        ask_again "$day" 0
        [ "$verdict" = fine ] || say "stopped at $day"
        stop "$verdict"
    done
fi
