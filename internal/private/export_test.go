package private

var SyncFolder = syncFolder
