plugins {
    alias(libs.plugins.android.application)
    alias(libs.plugins.kotlin.android)
}

android {
    namespace = "cbpnet.app"
    compileSdk = libs.versions.compileSdk.get().toInt()

    defaultConfig {
        applicationId = "cbpnet.app"
        minSdk = libs.versions.minSdk.get().toInt()
        targetSdk = libs.versions.targetSdk.get().toInt()
        versionCode = 1
        versionName = libs.versions.app.get()
        // What ExecuTorch's library is built for.
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
    }

    // The bundle is unpacked to a file once, and told by its length.
    androidResources { noCompress += "pte" }
}

kotlin {
    jvmToolchain(17)
}

dependencies {
    implementation(project(":executorch"))
    testImplementation(libs.junit)
}
