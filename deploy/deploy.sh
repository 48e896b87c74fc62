#!/usr/bin/env bash
# deploy.sh FILE: create the function app in Azure, or bring one up to date. FILE sets the variables below (settings.example).
# Each step may be repeated: what is there already stays, and is set to what FILE says.
#
# It was NOT RUN AGAINST AZURE. tests/integration/test_deploy.py runs it against a stand-in for az that takes only the
# commands and options of the Azure CLI.
#
# Needs: the Azure CLI 2.60 or newer, logged in (az login) with the right to create resources and role assignments; curl,
# git, jq, and a python3 with pip; better a Linux with the app's Python too (deploy/package.py). The person who runs it
# needs the role Owner, or Contributor and Role Based Access Control Administrator, on both resource groups, and the
# resource providers Microsoft.Web, Microsoft.Storage, Microsoft.Insights and Microsoft.EventGrid registered in the
# subscription (az provider register).
set -euo pipefail

cd "$(dirname "$0")/.."
file=${1:?usage: deploy/deploy.sh FILE}
# shellcheck source=deploy/settings.example
source "$file"

: "${PLAN:?flex or premium}" "${GROUP:?}" "${LOCATION:?}" "${APP:?}" "${STATE_ACCOUNT:?}"
: "${LAKE_ACCOUNT:?}" "${LAKE_GROUP:?}" "${LAKE_FILESYSTEM:?}" "${PG_HOST:?}" "${PG_USER:?}" "${PG_DATABASES:?}" "${TARGETS:?}"
PYTHON_VERSION=${PYTHON_VERSION:-3.12}
case $PLAN in flex | premium) ;; *)
    echo "error: PLAN is flex or premium" >&2
    exit 2
    ;;
esac

say() { printf -- '-- %s\n' "$*"; }

grant() { # grant ROLE SCOPE: the app's identity gets a role. A role that is there already stays.
    az role assignment create --assignee-object-id "$identity" --assignee-principal-type ServicePrincipal \
        --role "$1" --scope "$2" --output none
}

say "resource group $GROUP"
az group create --name "$GROUP" --location "$LOCATION" --output none

say "the app's own storage account $STATE_ACCOUNT"
az storage account create --resource-group "$GROUP" --name "$STATE_ACCOUNT" --location "$LOCATION" --sku Standard_LRS \
    --allow-blob-public-access false --min-tls-version TLS1_2 --output none
state=$(az storage account show --resource-group "$GROUP" --name "$STATE_ACCOUNT" --query id --output tsv)
lake=$(az storage account show --resource-group "$LAKE_GROUP" --name "$LAKE_ACCOUNT" --query id --output tsv)

say "function app $APP"
if ! az functionapp show --resource-group "$GROUP" --name "$APP" --output none 2>/dev/null; then
    common=(--resource-group "$GROUP" --name "$APP" --storage-account "$STATE_ACCOUNT" --runtime python
        --runtime-version "$PYTHON_VERSION" --functions-version 4 --assign-identity '[system]' --output none)
    if [ "$PLAN" = flex ]; then
        # 4,096 MB: the most; it decides how much of a CSV fits (docs/operations.md, Plans). The code is kept in a
        # container of the app's own account, which the identity opens, not a key in the settings.
        az functionapp create "${common[@]}" --flexconsumption-location "$LOCATION" --instance-memory 4096 \
            --maximum-instance-count 40 --deployment-storage-auth-type SystemAssignedIdentity
    else
        az functionapp plan create --resource-group "$GROUP" --name "$APP-plan" --location "$LOCATION" --sku EP1 \
            --is-linux true --output none
        az functionapp create "${common[@]}" --plan "$APP-plan" --os-type Linux
    fi
fi
az functionapp update --resource-group "$GROUP" --name "$APP" --set httpsOnly=true --output none
identity=$(az functionapp identity assign --resource-group "$GROUP" --name "$APP" --query principalId --output tsv)

say "rights of the app's identity"
# The host needs Owner of the blobs for its leases; the queues and tables hold the restores.
# https://learn.microsoft.com/azure/azure-functions/functions-reference#grant-permission-to-the-identity
grant "Storage Blob Data Owner" "$state"
grant "Storage Queue Data Contributor" "$state"
grant "Storage Table Data Contributor" "$state"
grant "Storage Blob Data Reader" "$lake/blobServices/default/containers/$LAKE_FILESYSTEM"

say "settings"
settings=(
    "AzureWebJobsStorage__accountName=$STATE_ACCOUNT"
    "ADLS_ACCOUNT_URL_DEFAULT=https://$LAKE_ACCOUNT.dfs.core.windows.net"
    "ADLS_FILESYSTEM_DEFAULT=$LAKE_FILESYSTEM"
    "ADLS_ALLOWED_ACCOUNTS=$LAKE_ACCOUNT/$LAKE_FILESYSTEM"
    "PG_AUTH=entra" "PGHOST=$PG_HOST" "PGUSER=$PG_USER" "PGSSLMODE=verify-full"
    "PG_ALLOWED_HOSTS=$PG_HOST" "PG_ALLOWED_DATABASES=$PG_DATABASES" "ALLOWED_TARGETS=$TARGETS"
    "RESTORE_DAILY_SCHEDULE=${DAILY_SCHEDULE:-0 0 6 * * *}"
)
# The first ends the whole worker with all its restores, and the second one slow statement before (docs/operations.md, The
# queue).
settings+=("AzureFunctionsJobHost__functionTimeout=${FUNCTION_TIMEOUT:-04:00:00}")
settings+=("PG_STATEMENT_TIMEOUT_SECONDS=${STATEMENT_TIMEOUT_SECONDS:-1800}")
if [ -n "${RULES:-}" ]; then
    settings+=("RESTORE_RULES=$RULES")
fi
if [ "$PLAN" = premium ]; then
    # The zip is mounted as it is. Flex Consumption does so anyway, and the setting is not to be set there.
    # https://learn.microsoft.com/azure/azure-functions/deployment-zip-push
    settings+=("WEBSITE_RUN_FROM_PACKAGE=1")
fi
az functionapp config appsettings set --resource-group "$GROUP" --name "$APP" --settings "${settings[@]}" --output none
# By the identity from here on.
az functionapp config appsettings delete --resource-group "$GROUP" --name "$APP" --setting-names AzureWebJobsStorage \
    --output none

say "events of the lake"
# By the account's key, which the CLI looks up: an Owner has no right to the data of an account.
az storage queue create --name archive-events --account-name "$STATE_ACCOUNT" --auth-mode key --output none
az eventgrid event-subscription create --name "$APP-archives" --source-resource-id "$lake" --endpoint-type storagequeue \
    --endpoint "$state/queueservices/default/queues/archive-events" \
    --included-event-types Microsoft.Storage.BlobCreated Microsoft.Storage.BlobRenamed Microsoft.Storage.BlobTierChanged \
    --subject-begins-with "/blobServices/default/containers/$LAKE_FILESYSTEM/" --subject-ends-with .csv.gz --output none

say "code"
package=$(mktemp -d)
trap 'rm -rf "$package"' EXIT
if [ -z "${PACKAGE:-}" ]; then
    PACKAGE=$package/app.zip
    options=(--python "$PYTHON_VERSION")
    if [ "${TEXT_ONLY:-no}" = yes ]; then
        options+=(--text-only)
    fi
    python3 deploy/package.py "$PACKAGE" "${options[@]}"
fi
# All packages are in it. The CLI hands this "false" on for both plans (2.91: enable_zip_deploy_functionapp and
# enable_zip_deploy_flex); without the option it asks for a remote build on Flex Consumption.
# https://learn.microsoft.com/azure/azure-functions/python-build-options#local-build
az functionapp deployment source config-zip --resource-group "$GROUP" --name "$APP" --src "$PACKAGE" \
    --build-remote false --output none

say "a key for those who call"
key_of_callers() { az functionapp keys list --resource-group "$GROUP" --name "$APP" --query functionKeys.runbook --output tsv; }
key=$(key_of_callers)
if [ -z "$key" ]; then
    # Only then: for a key that is there this would make another value, and lock out those who have the first one.
    az functionapp keys set --resource-group "$GROUP" --name "$APP" --key-type functionKeys --key-name runbook --output none
    key=$(key_of_callers)
fi
base=https://$(az functionapp show --resource-group "$GROUP" --name "$APP" --query defaultHostName --output tsv)/api

say "smoke test: $base/health/details"
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    # The key goes by a file: the arguments of a process are seen by others.
    if curl --silent --show-error --fail-with-body --header @- "$base/health/details" <<<"x-functions-key: $key" \
        >"$package/health.json"; then
        break
    fi
    # Rights and settings take some minutes to arrive.
    echo "   not yet ($attempt of 10)"
    sleep "${WAIT_SECONDS:-30}"
done
jq -r '.checks[] | "   \(.name): \(.status) \(.error.message // "")"' "$package/health.json"
# Of an empty file, jq 1.6 makes no result and no error.
jq --slurp --exit-status 'any(.[]; .status == "ok")' "$package/health.json" >/dev/null || {
    echo "error: the app is there, but not well; docs/operations.md, Health" >&2
    exit 1
}
if [ -n "${SMOKE_ARCHIVE:-}" ]; then
    say "smoke test: a dry run of $SMOKE_ARCHIVE"
    jq -n --arg url "$SMOKE_ARCHIVE" '{adls_url: $url, dry_run: true}' >"$package/request.json"
    curl --silent --show-error --header @- --header 'Content-Type: application/json' --data "@$package/request.json" \
        "$base/restore" <<<"x-functions-key: $key" | tee "$package/answer.json" | jq '{status, dry_run, error}'
    jq -e '.status == "dry_run"' "$package/answer.json" >/dev/null
fi
say "done: $base/ui"
