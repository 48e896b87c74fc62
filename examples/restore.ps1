<#
.SYNOPSIS
Restore a range of days, one after the other.

.DESCRIPTION
The same as restore.sh, for PowerShell 7. The function's key is read from the environment variable RESTORE_KEY, so that no
list of processes and no history shows it. The output is the answers, one object each; the rest is for a person. It ends
with a summary of what was restored and what is left, also where Ctrl+C or an error ends it.

Exit status:
  0   every day is restored, or was left out as -Existing and -Missing say; read the warnings
  1   a request was refused: the day is unchanged; or no day has an archive
  2   wrong usage; nothing was sent
  3   it is not known whether a day was restored: look into the function's log before it is sent again
  75  an error that may pass stayed; the day is unchanged

.EXAMPLE
./restore.ps1 -Url https://restore-chunk.azurewebsites.net/api/restore `
    -Archive 'backups/weavix/silver.telemetry.{date}.csv.gz' -From 2025-01-01 -To 2025-01-07
#>
#Requires -Version 7.0
[CmdletBinding()]
param(
    # https://<host>/api, or https://<host>/api/restore
    [Parameter(Mandatory)] [string] $Url,
    # adls_url with {date} in it, as a backfill has it; {day} is understood as well
    [Parameter(Mandatory)] [string] $Archive,
    # First day, 2025-01-01
    [Parameter(Mandatory)] [string] $From,
    # Last day; one day only where it is left out
    [string] $To = $From,
    # For a day that has rows: skip leaves it as it is, replace replaces it by its archive
    [ValidateSet('skip', 'replace')] [string] $Existing,
    # Go on where a day has no archive
    [ValidateSet('skip')] [string] $Missing,
    # File with a JSON object: the rest of the request (docs/request.md), the same for each day
    [string] $Request,
    # Write nothing before a dry run of each day went well; each archive is downloaded twice
    [switch] $DryRunFirst,
    # Write nothing
    [switch] $DryRunOnly,
    # Let the dry run load the rows into temporary tables too: it takes about as long as a restore
    [switch] $Full,
    # How often a request is sent again where the answer says that it may work later
    [ValidateRange(0, 100)] [int] $Retries = 2,
    # Before that
    [ValidateRange(0, 3600)] [int] $WaitSeconds = 30
)
Set-StrictMode -Version 3.0
$ErrorActionPreference = 'Stop'

function Stop-Run([int] $Status, [string] $Text) {
    [Console]::Error.WriteLine("error: $Text")
    exit $Status
}

function Write-Line([string] $Text) {
    [Console]::Error.WriteLine($Text)
}

function ConvertTo-Day([string] $Text) {
    $day = [datetime]::MinValue
    $culture = [Globalization.CultureInfo]::InvariantCulture
    if (-not [datetime]::TryParseExact($Text, 'yyyy-MM-dd', $culture, 'None', [ref] $day)) {
        Stop-Run 2 '-From and -To must be days, as in 2025-01-31'
    }
    return $day
}

# One request. Returns fine, skipped, missing, refused, later or unknown, and puts the answer into $script:answers.
function Send-Day([string] $Day, [bool] $DryRun) {
    $body = [ordered]@{}
    foreach ($name in $more.Keys) { $body[$name] = $more[$name] }
    $body['adls_url'] = $Archive.Replace('{date}', $Day)
    if ($DryRun -and $Full) { $body['dry_run'] = 'full' }
    elseif ($DryRun -and -not $body['dry_run']) { $body['dry_run'] = $true }
    $headers = @{}
    if ($env:RESTORE_KEY) { $headers['x-functions-key'] = $env:RESTORE_KEY }
    $call = @{
        Uri                = $Url
        Method             = 'Post'
        Headers            = $headers
        ContentType        = 'application/json'
        Body               = ConvertTo-Json -InputObject $body -Depth 10 -Compress
        TimeoutSec         = 240
        MaximumRedirection = 0
        SkipHttpErrorCheck = $true
    }
    if (-not $DryRun) { $script:openDay = $Day }
    try {
        $response = Invoke-WebRequest @call
    }
    catch {
        $cause = $_.Exception.GetBaseException()
        if ($cause -is [Net.Sockets.SocketException] -and $cause.SocketErrorCode -in 'ConnectionRefused', 'HostNotFound') {
            Write-Line "${Day}: $Url cannot be reached"
            return 'later'
        }
        Write-Line "${Day}: no answer of the function: $($cause.Message); the restore may run on"
        # A dry run writes nothing, whatever its outcome.
        if ($DryRun) { return 'later' }
        return 'unknown'
    }
    $status = [int] $response.StatusCode
    $answer = $null
    try { $answer = ConvertFrom-Json -InputObject $response.Content -AsHashtable }
    catch { $answer = $null }
    if ($answer -isnot [Collections.IDictionary] -or -not $answer.Contains('request_id')) {
        switch ($status) {
            401 { Write-Line "${Day}: HTTP 401: RESTORE_KEY is missing or wrong"; return 'refused' }
            403 { Write-Line "${Day}: HTTP 403: the function app does not admit this machine"; return 'refused' }
            404 { Write-Line "${Day}: HTTP 404: there is no function at $Url"; return 'refused' }
        }
        Write-Line "${Day}: no answer of the function (HTTP $status); the restore may run on"
        if ($DryRun) { return 'later' }
        return 'unknown'
    }
    $script:answers.Add($answer)
    if ($status -eq 200) { return Read-Answer $Day $answer }
    return Read-Error $Day $status $answer
}

function Read-Answer([string] $Day, [Collections.IDictionary] $Answer) {
    if ($Answer.Contains('dry_run')) {
        Write-Line "${Day}: dry run, $($Answer['dry_run']['rows_in_archive']) rows in the archive"
        $problems = @($Answer['dry_run']['problems'])
        foreach ($problem in $problems) {
            Write-Line "${Day}: would end with $($problem['code']): $($problem['message'])"
        }
        foreach ($warning in $Answer['warnings']) {
            Write-Line "${Day}: warning $($warning['code']): $($warning['message'])"
        }
        $notChecked = @($Answer['dry_run']['not_checked'])
        if ($notChecked.Count -gt 0) { Write-Line "${Day}: not looked at, or not wholly: $($notChecked -join ', ')" }
        # A day with problems has rows in its archive as well.
        $script:rows += $Answer['dry_run']['rows_in_archive']
        if ($problems.Count -gt 0) { return 'refused' }
        return 'fine'
    }
    if ($Answer['status'] -eq 'skipped') {
        Write-Line "${Day}: skipped, it has rows"
        return 'skipped'
    }
    Write-Line "${Day}: $($Answer['status']), $($Answer['rows_loaded']) rows"
    $warnings = @($Answer['warnings'])
    foreach ($warning in $warnings) {
        Write-Line "${Day}: warning $($warning['code']): $($warning['message'])"
    }
    if ($warnings.Count -gt 0) { $script:warned++ }
    $script:rows += $Answer['rows_loaded']
    return 'fine'
}

function Read-Error([string] $Day, [int] $Status, [Collections.IDictionary] $Answer) {
    $fault = $Answer['error']
    # Not where the file system is missing: then no day has an archive.
    if ($Missing -eq 'skip' -and $fault['code'] -eq 'ArchiveNotFound') {
        foreach ($detail in @($fault['details'])) {
            if ($detail['storage_code'] -in 'BlobNotFound', 'PathNotFound') {
                Write-Line "${Day}: no archive"
                return 'missing'
            }
        }
    }
    Write-Line "${Day}: error $($fault['code']) (HTTP $Status): $($fault['message'])"
    if ($fault['hint']) { Write-Line "    hint: $($fault['hint'])" }
    foreach ($detail in @($fault['details'])) {
        if ($detail['target']) { Write-Line "    $($detail['target']): $($detail['message'])" }
    }
    Write-Line "    request_id: $($Answer['request_id'])"
    if ($fault['code'] -eq 'CommitOutcomeUnknown') { return 'unknown' }
    if ($fault['retryable']) { return 'later' }
    return 'refused'
}

# As often as it may help. What is known then is noted for the summary.
function Send-DayAgain([string] $Day, [bool] $DryRun) {
    $script:number++
    Write-Line "${Day}: $script:number of $($days.Count)"
    $left = $Retries
    $verdict = Send-Day $Day $DryRun
    if ($verdict -ne 'unknown') { $script:openDay = '' }
    while ($verdict -eq 'later' -and $left -gt 0) {
        Write-Line "    again in $WaitSeconds s"
        Start-Sleep -Seconds $WaitSeconds
        $left--
        $verdict = Send-Day $Day $DryRun
        if ($verdict -ne 'unknown') { $script:openDay = '' }
    }
    switch ($verdict) {
        'skipped' { $script:skipped++ }
        'missing' { $script:missingDays.Add($Day) }
        'refused' { $script:problems++ }
        'fine' { if (-not $DryRun) { $script:restored++ } }
    }
    if (-not $DryRun -and $verdict -in 'fine', 'skipped', 'missing') { $script:finished++ }
    return $verdict
}

function Write-Summary {
    $seconds = [int] $clock.Elapsed.TotalSeconds
    if ($missingDays.Count -gt 0) { Write-Line "missing: $missingDays" }
    if ($phase -eq 'check') {
        Write-Line ("dry run: $number of $($days.Count) days, $rows rows in their archives; $problems with problems, " +
            "$($missingDays.Count) missing; nothing was restored; $seconds s")
        return
    }
    Write-Line ("restored: $restored of $($days.Count) days, $rows rows; $skipped skipped, $($missingDays.Count) missing, " +
        "$warned with warnings; $seconds s")
    $done = $finished
    if ($openDay) {
        Write-Line ("not known: $openDay; the restore may run on: look into the function's log before it is sent again")
        $done++
    }
    $left = $days.Count - $done
    if ($left -gt 0) { Write-Line "left: $left of $($days.Count) days; go on with -From $($days[$done]) -To $($days[-1])" }
}

$endings = @{ refused = 1; unknown = 3; later = 75 }
if ($Url -match '[?&]code=') { Stop-Run 2 'put the key into RESTORE_KEY, not into the URL' }
if ($Url -notmatch '^(https://|http://(127\.0\.0\.1|localhost)[:/])') {
    Stop-Run 2 'the URL must begin with https://, or the key could be read on its way'
}
# The command line restorectl takes the same two.
$Url = $Url.TrimEnd('/')
if ($Url -notmatch '^https?://[^/]+/') { $Url += '/api' }
if ($Url -match '^https?://.+/api$') { $Url += '/restore' }
if ($Full -and -not ($DryRunFirst -or $DryRunOnly)) {
    Stop-Run 2 '-Full says how a dry run is made: add -DryRunFirst or -DryRunOnly'
}
$Archive = $Archive.Replace('{day}', '{date}')
if (-not $Archive.Contains('{date}')) { Stop-Run 2 '-Archive must hold {date}' }
$more = @{}
if ($Request) {
    try { $more = ConvertFrom-Json -InputObject (Get-Content -Raw -LiteralPath $Request) -AsHashtable }
    catch { $more = $null }
    if ($more -isnot [Collections.IDictionary]) { Stop-Run 2 "$Request is not a JSON object" }
}
if (-not $DryRunOnly -and $more['dry_run']) {
    Stop-Run 2 "$Request asks for a dry run: leave dry_run out, and say -DryRunFirst or -DryRunOnly"
}
if ($more['async']) { Stop-Run 2 "$Request asks for an answer before the end: leave async out" }
if ($Existing) {
    if (-not $more['destination']) { $more['destination'] = @{} }
    if ($more['destination'] -isnot [Collections.IDictionary]) { Stop-Run 2 "destination in $Request is no object" }
    $more['destination']['on_existing'] = $Existing
}
$first = ConvertTo-Day $From
$last = ConvertTo-Day $To
if ($last -lt $first) { Stop-Run 2 '-To is before -From' }
$count = ($last - $first).Days
$days = @(0..$count | ForEach-Object { $first.AddDays($_).ToString('yyyy-MM-dd') })

# What the summary says. $openDay is one whose restore was sent, and of which nothing is known yet.
$clock = [Diagnostics.Stopwatch]::StartNew()
$answers = [Collections.Generic.List[object]]::new()
$missingDays = [Collections.Generic.List[string]]::new()
$number = $finished = $restored = $skipped = $warned = $problems = 0
[long] $rows = 0
$openDay = ''
$phase = ''
$status = 0
try {
    if ($DryRunFirst -or $DryRunOnly) {
        $phase = 'check'
        $worst = ''
        foreach ($day in $days) {
            $verdict = Send-DayAgain $day $true
            $answers
            $answers.Clear()
            # A refusal is for good, so it counts more than what may pass.
            if ($verdict -eq 'refused' -or ($verdict -eq 'later' -and -not $worst)) { $worst = $verdict }
        }
        if ($worst) { $status = $endings[$worst] }
    }
    if (-not $DryRunOnly -and $status -eq 0) {
        $phase = 'restore'
        $number = 0
        $rows = 0
        foreach ($day in $days) {
            if ($missingDays.Contains($day)) {
                $number++
                $finished++
                continue
            }
            $verdict = Send-DayAgain $day $false
            $answers
            $answers.Clear()
            if ($endings.Contains($verdict)) {
                Write-Line "stopped at $day"
                $status = $endings[$verdict]
                break
            }
        }
    }
    if ($status -eq 0 -and $missingDays.Count -eq $days.Count) {
        Write-Line 'no day has an archive: check -Archive'
        $status = 1
    }
}
finally {
    Write-Summary
}
exit $status
