<#
.SYNOPSIS
Restore a range of days: a dry run of each one first, then one after the other.

.DESCRIPTION
The same as restore.sh, for PowerShell 7. The function's key is read from the environment variable RESTORE_KEY, so that no
list of processes and no history shows it. The output is the answers, one object each; the rest is for a person.

Exit status:
  0   every day is restored; read the warnings
  1   a request was refused: the day is as it was before
  2   wrong usage; nothing was sent
  3   it is not known whether a day was loaded: look into the function's log before it is sent again
  75  an error that may pass stayed; the day is as it was before

.EXAMPLE
./restore.ps1 -Url https://restore-chunk.azurewebsites.net/api/restore `
    -Archive 'backups/weavix/silver.telemetry.{day}.csv.gz' -From 2025-01-01 -To 2025-01-07
#>
#Requires -Version 7.0
[CmdletBinding()]
param(
    # https://<host>/api/restore
    [Parameter(Mandatory)] [string] $Url,
    # adls_url of a day, with {day} in it
    [Parameter(Mandatory)] [string] $Archive,
    # First day, 2025-01-01
    [Parameter(Mandatory)] [string] $From,
    # Last day; one day only where it is left out
    [string] $To = $From,
    # File with a JSON object: the rest of the request (docs/request.md), the same for each day
    [string] $Request,
    # Write nothing
    [switch] $DryRunOnly,
    # Restore at once
    [switch] $NoDryRun,
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

# One request. Returns fine, refused, later or unknown, and puts the answer into $script:answers.
function Send-Day([string] $Day, [bool] $DryRun) {
    $body = [ordered]@{}
    foreach ($name in $more.Keys) { $body[$name] = $more[$name] }
    $body['adls_url'] = $Archive.Replace('{day}', $Day)
    if ($DryRun) { $body['dry_run'] = $true }
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
        # A dry run writes nothing, whatever became of it.
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
            403 { Write-Line "${Day}: HTTP 403: the function app does not let this machine in"; return 'refused' }
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
        if ($problems.Count -gt 0) { return 'refused' }
        return 'fine'
    }
    Write-Line "${Day}: $($Answer['status']), $($Answer['rows_loaded']) rows"
    foreach ($warning in @($Answer['warnings'])) {
        Write-Line "${Day}: warning $($warning['code']): $($warning['message'])"
    }
    return 'fine'
}

function Read-Error([string] $Day, [int] $Status, [Collections.IDictionary] $Answer) {
    $fault = $Answer['error']
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

# As often as it may help.
function Send-DayAgain([string] $Day, [bool] $DryRun) {
    $left = $Retries
    $verdict = Send-Day $Day $DryRun
    while ($verdict -eq 'later' -and $left -gt 0) {
        Write-Line "    again in $WaitSeconds s"
        Start-Sleep -Seconds $WaitSeconds
        $left--
        $verdict = Send-Day $Day $DryRun
    }
    return $verdict
}

$endings = @{ fine = 0; refused = 1; unknown = 3; later = 75 }
if ($Url -match '[?&]code=') { Stop-Run 2 'the key belongs into RESTORE_KEY, not into the URL' }
if ($Url -notmatch '^(https://|http://(127\.0\.0\.1|localhost)[:/])') {
    Stop-Run 2 'the URL must begin with https://, or the key could be read on its way'
}
if (-not $Archive.Contains('{day}')) { Stop-Run 2 '-Archive must hold {day}' }
if ($DryRunOnly -and $NoDryRun) { Stop-Run 2 '-DryRunOnly and -NoDryRun leave nothing to do' }
$more = @{}
if ($Request) {
    try { $more = ConvertFrom-Json -InputObject (Get-Content -Raw -LiteralPath $Request) -AsHashtable }
    catch { $more = $null }
    if ($more -isnot [Collections.IDictionary]) { Stop-Run 2 "$Request is no JSON object" }
}
$first = ConvertTo-Day $From
$last = ConvertTo-Day $To
if ($last -lt $first) { Stop-Run 2 '-To is before -From' }
$count = ($last - $first).Days
$days = 0..$count | ForEach-Object { $first.AddDays($_).ToString('yyyy-MM-dd') }
$answers = [Collections.Generic.List[object]]::new()

if (-not $NoDryRun) {
    $worst = 'fine'
    foreach ($day in $days) {
        $verdict = Send-DayAgain $day $true
        # A refusal is for good, so it counts more than what may pass.
        if ($verdict -eq 'refused' -or $worst -eq 'fine') { $worst = $verdict }
    }
    if ($worst -ne 'fine') {
        Write-Line 'nothing was restored'
        $answers
        exit $endings[$worst]
    }
}
if (-not $DryRunOnly) {
    foreach ($day in $days) {
        $verdict = Send-DayAgain $day $false
        if ($verdict -ne 'fine') {
            Write-Line "stopped at $day"
            $answers
            exit $endings[$verdict]
        }
    }
}
$answers
