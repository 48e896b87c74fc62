#!/usr/bin/env bash
# Restore a range of days, one after the other.
#
#     RESTORE_KEY=... ./restore.sh --url URL --archive PATTERN --from DAY [--to DAY] [more]
#
#   --url URL           https://<host>/api, or https://<host>/api/restore
#   --archive PATTERN   adls_url with {date} in it, as a backfill has it: backups/weavix/silver.telemetry.{date}.csv.gz
#                       ({day} is understood as well)
#   --from DAY          first day, 2025-01-01
#   --to DAY            last day; one day only where it is left out
#   --existing WHAT     for a day that has rows: skip leaves it as it is, replace replaces it by its archive
#   --missing skip      go on where a day has no archive
#   --request FILE      JSON object with the rest of the request (docs/request.md), the same for each day
#   --dry-run-first     write nothing before a dry run of each day went well; each archive is downloaded twice
#   --dry-run-only      write nothing
#   --full              let the dry run load the rows into temporary tables too: it takes about as long as a restore
#   --retries N         how often a request is sent again where the answer says that it may work later (2)
#   --wait SECONDS      before that (30)
#
# RESTORE_KEY is the function's key. It is handed to curl on a pipe, so no list of processes shows it.
# Standard output has the answers, one JSON object a line; standard error is for a person. It ends with a summary of what
# was restored and what is left, also where a signal or an error ends it. Exit status:
#   0   every day is restored, or was left out as --existing and --missing say; read the warnings
#   1   a request was refused: the day is unchanged; or no day has an archive
#   2   wrong usage; nothing was sent
#   3   it is not known whether a day was restored: look into the function's log before it is sent again
#   75  an error that may pass stayed; the day is unchanged
#   129, 130, 143  a signal ended it; of the day that was under way it is not known what becomes
# Needs bash, curl and jq.
set -euo pipefail

fail() { # fail STATUS TEXT...
    printf 'error: %s\n' "${*:2}" >&2
    exit "$1"
}

say() {
    printf '%s\n' "$*" >&2
}

url='' archive='' from='' to='' more='' existing='' missing='' retries=2 wait=30 dry_run=0 full=0 restore=1
while [ $# -gt 0 ]; do
    option=$1 value=${2-}
    case $option in
        --dry-run-first) dry_run=1 && shift && continue ;;
        --dry-run-only) dry_run=1 restore=0 && shift && continue ;;
        --full) full=1 && shift && continue ;;
        --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p;}' "$0" && exit ;;
    esac
    case $option in
        --url) url=$value ;;
        --archive) archive=$value ;;
        --from) from=$value ;;
        --to) to=$value ;;
        --existing) existing=$value ;;
        --missing) missing=$value ;;
        --request) more=$value ;;
        --retries) retries=$value ;;
        --wait) wait=$value ;;
        *) fail 2 "unknown option $option; --help lists them" ;;
    esac
    [ -n "$value" ] || fail 2 "$option needs a value"
    shift 2
done

((dry_run || !full)) || fail 2 "--full says how a dry run is made: add --dry-run-first or --dry-run-only"
for program in curl jq; do
    command -v "$program" >/dev/null || fail 2 "$program is not installed"
done
if [ -z "$url" ] || [ -z "$archive" ] || [ -z "$from" ]; then
    fail 2 "--url, --archive and --from are needed; --help says more"
fi
case $url in
    *[?\&]code=*) fail 2 "put the key into RESTORE_KEY, not into the URL" ;;
    https://* | http://127.0.0.1[:/]* | http://localhost[:/]*) ;;
    *) fail 2 "the URL must begin with https://, or the key could be read on its way" ;;
esac
# The command line restorectl takes the same two.
url=${url%/}
case ${url#*://} in
    */api) url=$url/restore ;;
    */*) ;;
    *) url=$url/api/restore ;;
esac
case ${RESTORE_KEY:-} in *[!A-Za-z0-9_=/+.~-]*) fail 2 "RESTORE_KEY holds a character that no function key has" ;; esac
case $archive in *'{date}'* | *'{day}'*) ;; *) fail 2 "--archive must hold {date}" ;; esac
case $existing in '' | skip | replace) ;; *) fail 2 "--existing takes skip or replace" ;; esac
case $missing in '' | skip) ;; *) fail 2 "--missing takes skip" ;; esac
case $retries$wait in *[!0-9]*) fail 2 "--retries and --wait take whole numbers" ;; esac

# What the summary says. `open_day` is one whose restore was sent, and of which nothing is known yet.
phase='' days='' total=0 number=0 finished=0 open_day=''
restored=0 skipped=0 warned=0 problems=0 rows=0 missing_days='' missing_count=0
# `archived` are the rows of a dry run's archive; `ended` is the process in the background that was last waited for.
work='' ended=''

summary() {
    local left
    if [ -n "$missing_days" ]; then say "missing:$missing_days"; fi
    if [ "$phase" = check ]; then
        say "dry run: $number of $total days, $rows rows in their archives; $problems with problems," \
            "$missing_count missing; nothing was restored; $SECONDS s"
        return
    fi
    say "restored: $restored of $total days, $rows rows; $skipped skipped, $missing_count missing," \
        "$warned with warnings; $SECONDS s"
    if [ -n "$open_day" ]; then
        say "not known: $open_day; the restore may run on: look into the function's log before it is sent again"
        finished=$((finished + 1))
    fi
    left=$((total - finished))
    if ((left > 0)); then
        say "left: $left of $total days; go on with --from $(sed -n "$((finished + 1))p" "$work/days")" \
            "--to $(tail -n 1 "$work/days")"
    fi
}

finish() { # runs at the end, whatever it is
    local status=$?
    trap - EXIT HUP INT TERM
    # Not by TERM: a process that has just begun may still have the traps above, and lives on. A shell that knows the
    # process would print how it was killed.
    disown -a
    if [ "${!:-}" != "$ended" ]; then kill -KILL "$!" 2>/dev/null || true; fi
    if [ -n "$phase" ]; then summary || true; fi
    if [ -n "$work" ]; then rm -rf "$work"; fi
    exit "$status"
}

trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

work=$(umask 077 && mktemp -d)
if [ -n "$more" ]; then
    jq --slurp --exit-status 'if length == 1 and (.[0] | type == "object") then .[0] else false end' \
        "$more" >"$work/more.json" 2>/dev/null || fail 2 "$more is not a JSON object"
else
    echo '{}' >"$work/more.json"
fi
if ((restore)) && jq --exit-status '.dry_run // false' "$work/more.json" >/dev/null; then
    fail 2 "$more asks for a dry run: leave dry_run out, and say --dry-run-first or --dry-run-only"
fi
if jq --exit-status '.async // false' "$work/more.json" >/dev/null; then
    fail 2 "$more asks for an answer before the end: leave async out"
fi
jq --arg existing "$existing" \
    'if $existing == "" then . else .destination = (.destination // {}) + {on_existing: $existing} end' \
    "$work/more.json" >"$work/base.json" 2>/dev/null || fail 2 "destination in $more is no object"

# jq counts the days: the date of GNU and that of macOS have nothing in common. A day that comes back changed was none.
jq --null-input --raw-output --arg from "$from" --arg to "${to:-$from}" '
    def seconds: . as $day | strptime("%Y-%m-%d") | mktime
        | if strftime("%Y-%m-%d") == $day then . else error("no day") end;
    range($from | seconds; ($to | seconds) + 1; 86400) | strftime("%Y-%m-%d")' >"$work/days" 2>/dev/null ||
    fail 2 "--from and --to must be days, as in 2025-01-31"
days=$(cat "$work/days")
[ -n "$days" ] || fail 2 "--to is before --from"
total=$(($(wc -l <"$work/days")))

stand_by() { # stand_by PROCESS: until it ends, or a signal comes; a command in the foreground would hold the signal back
    local code=0
    wait "$1" || code=$?
    ended=$1
    return "$code"
}

send() { # put the HTTP status into a file; curl's own exit status says what went wrong on the way
    {
        [ -z "${RESTORE_KEY:-}" ] || printf 'header = "x-functions-key: %s"\n' "$RESTORE_KEY"
    } | curl --config - --silent --show-error --max-time 240 --header 'Content-Type: application/json' \
        --data-binary "@$work/request.json" --output "$work/answer.json" --write-out '%{http_code}' "$url" \
        >"$work/status" &
    stand_by $!
}

of_answer() { # of_answer FILTER: a part of the answer
    jq --raw-output "$1" "$work/answer.json"
}

ask() { # ask DAY DRY_RUN: one request; `verdict` is fine, skipped, missing, refused, later or unknown
    local day=$1 dry=$2 status code=0 of_day
    of_day=${archive//\{date\}/$day}
    jq --arg url "${of_day//\{day\}/$day}" --argjson dry "$dry" --argjson full "$full" '. + {adls_url: $url}
        + (if $dry == 0 then {} elif $full == 1 then {dry_run: "full"} else {dry_run: (.dry_run // true)} end)' \
        "$work/base.json" >"$work/request.json"
    : >"$work/answer.json"
    archived=0
    if [ "$dry" = 0 ]; then open_day=$day; fi
    send || code=$?
    status=$(cat "$work/status")
    # As a list, since jq 1.6 takes an empty file for a yes.
    if jq --slurp --exit-status 'length == 1 and (.[0] | type == "object" and has("request_id"))' \
        "$work/answer.json" >/dev/null 2>&1; then
        judge "$day" "$status"
        tally "$day" "$dry"
        jq --compact-output . "$work/answer.json"
        return
    fi
    # No answer of the function. What was never sent cannot have done anything.
    case $code:$status in
        5:* | 6:* | 7:* | 35:* | 60:*) verdict=later && say "$day: $url cannot be reached" ;;
        0:401) verdict=refused && say "$day: HTTP 401: RESTORE_KEY is missing or wrong" ;;
        0:403) verdict=refused && say "$day: HTTP 403: the function app does not admit this machine" ;;
        0:404) verdict=refused && say "$day: HTTP 404: there is no function at $url" ;;
        *) verdict=unknown && say "$day: no answer of the function (HTTP $status); the restore may run on" ;;
    esac
    # A dry run writes nothing, whatever its outcome.
    if [ "$verdict" = unknown ] && [ "$dry" = 1 ]; then verdict=later; fi
    tally "$day" "$dry"
}

judge() { # judge DAY HTTP_STATUS: read an answer
    if [ "$2" = 200 ]; then
        jq --raw-output --arg day "$1" '
            if .dry_run then "\($day): dry run, \(.dry_run.rows_in_archive) rows in the archive",
                (.dry_run.problems[] | "\($day): would end with \(.code): \(.message)"),
                (.warnings[] | "\($day): warning \(.code): \(.message)"),
                (.dry_run.not_checked | select(. != []) | "\($day): not looked at, or not wholly: \(join(", "))")
            elif .status == "skipped" then "\($day): skipped, it has rows"
            else "\($day): \(.status), \(.rows_loaded) rows", (.warnings[] | "\($day): warning \(.code): \(.message)")
            end' "$work/answer.json" >&2
        verdict=$(of_answer 'if (.dry_run.problems // []) != [] then "refused"
            elif .status == "skipped" then "skipped" else "fine" end')
        # A day with problems has rows in its archive as well.
        archived=$(of_answer '.dry_run.rows_in_archive // 0')
        return
    fi
    # Not where the file system is missing: then no day has an archive.
    if [ "$missing" = skip ] && jq --exit-status '.error | .code == "ArchiveNotFound"
        and any(.details[]; .storage_code == "BlobNotFound" or .storage_code == "PathNotFound")' \
        "$work/answer.json" >/dev/null; then
        verdict=missing && say "$1: no archive"
        return
    fi
    jq --raw-output --arg day "$1" --arg status "$2" '
        "\($day): error \(.error.code) (HTTP \($status)): \(.error.message)",
        (if .error.hint then "    hint: \(.error.hint)" else empty end),
        (.error.details[] | select(.target) | "    \(.target): \(.message)"),
        "    request_id: \(.request_id)"' "$work/answer.json" >&2
    verdict=$(of_answer '.error | if .code == "CommitOutcomeUnknown" then "unknown"
        elif .retryable then "later" else "refused" end')
}

tally() { # tally DAY DRY_RUN: note for the summary what is known of a day now
    if [ "$verdict" != unknown ]; then open_day=''; fi
    case $verdict in
        fine | refused | later | unknown) ;;
        skipped) skipped=$((skipped + 1)) ;;
        missing) missing_days="$missing_days $1" missing_count=$((missing_count + 1)) ;;
    esac
    if [ "$2" = 1 ]; then
        rows=$((rows + archived))
        if [ "$verdict" = refused ]; then problems=$((problems + 1)); fi
        return
    fi
    case $verdict in
        fine)
            restored=$((restored + 1)) rows=$((rows + $(of_answer '.rows_loaded')))
            if [ "$(of_answer '.warnings | length')" != 0 ]; then warned=$((warned + 1)); fi
            ;;
    esac
    case $verdict in fine | skipped | missing) finished=$((finished + 1)) ;; esac
}

ask_again() { # ask_again DAY DRY_RUN: as often as it may help
    local left=$retries
    ask "$@"
    while [ "$verdict" = later ] && ((left > 0)); do
        say "    again in $wait s"
        sleep "$wait" &
        stand_by $!
        left=$((left - 1))
        ask "$@"
    done
}

begin() { # begin DAY
    number=$((number + 1))
    say "$1: $number of $total"
}

stop() { # stop VERDICT
    case $1 in
        refused) exit 1 ;;
        later) exit 75 ;;
        unknown) exit 3 ;;
    esac
    if [ "$missing_count" = "$total" ]; then
        say "no day has an archive: check --archive"
        exit 1
    fi
}

if ((dry_run)); then
    phase=check worst=fine
    for day in $days; do
        begin "$day"
        ask_again "$day" 1
        case $verdict in
            later | unknown) if [ "$worst" = fine ]; then worst=$verdict; fi ;;
            # It is for good, so it counts more than what may pass.
            refused) worst=refused ;;
        esac
    done
    stop "$worst"
fi
if ((restore)); then
    phase=restore number=0 rows=0
    for day in $days; do
        begin "$day"
        case "$missing_days " in
            *" $day "*)
                finished=$((finished + 1))
                continue
                ;;
        esac
        ask_again "$day" 0
        case $verdict in later | refused | unknown) say "stopped at $day" ;; esac
        stop "$verdict"
    done
fi
